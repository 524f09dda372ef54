"""What the project promises when things go wrong: one fault injected per test, seen as the user sees it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from slidestream.errors import StoreIncomplete
from slidestream.features.store import open_store

Cli = Callable[..., Any]
Real = Callable[[str], Path]
Draw = Callable[..., Any]

SMALL = ["--encoder", "mean", "--patch-size", "64", "--mpp", "1"]
ALL_PATCHES = [*SMALL, "--min-tissue", "0"]


@pytest.fixture(autouse=True)
def _quick(mean_encoder: str) -> None:
    """Every run here uses the encoder whose embedding is the mean colour."""


def outcomes(ended: Any) -> dict[str, dict[str, Any]]:
    return {outcome["slide_id"]: outcome for outcome in json.loads(ended.out)["outcomes"]}


def codes(ended: Any) -> dict[str, str]:
    return {slide: outcome["code"] for slide, outcome in outcomes(ended).items()}


def test_one_undecodable_tile_costs_the_patches_that_touch_it(cli: Cli, real: Real, tmp_path: Path) -> None:
    bad, good = real("malformed/svs_mutants/tile_jpeg_garbage.svs"), real("wsi/CMU-1-Small-Region.svs")
    ended = cli("run", bad, good, "-o", tmp_path / "run", *ALL_PATCHES, "--max-unreadable", "0.1", "--json")
    assert ended.code == 0
    stores = [open_store(tmp_path / f"run/embeddings/{path.stem}.zarr") for path in (bad, good)]
    lost = stores[0].status() == 1
    assert 0 < lost.sum() <= 9
    corners = stores[0].coords()[lost]
    assert np.ptp(corners, axis=0).max() <= 2 * 64 / 0.499 + 240, "they lie around one tile"
    assert np.isnan(stores[0].features()[lost]).all()
    np.testing.assert_array_equal(stores[0].features()[~lost], stores[1].features()[~lost])
    refused = cli("run", bad, "-o", tmp_path / "strict", *ALL_PATCHES, "--max-unreadable", "0", "--json")
    assert (refused.code, codes(refused)) == (3, {bad.stem: "UNREADABLE"})


def test_a_tile_of_zero_length_is_never_tissue(cli: Cli, real: Real, tmp_path: Path) -> None:
    hole, whole = real("malformed/svs_mutants/tile_zero_length.svs"), real("wsi/CMU-1-Small-Region.svs")
    options = ["--encoder", "mean", "--patch-size", "32", "--mpp", "0.499", "--min-tissue", "0"]
    assert cli("run", hole, whole, "-o", tmp_path / "run", *options).code == 0
    store, clean = (open_store(tmp_path / f"run/embeddings/{path.stem}.zarr") for path in (hole, whole))
    changed = (store.features() != clean.features()).any(axis=1)
    outside = store.status() == 2
    assert outside.any()
    assert np.isnan(store.features()[outside]).all()
    white = store.features()[changed & ~outside] > clean.features()[changed & ~outside]
    assert white.all(), "what is missing of a patch is white"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("malformed/svs_mutants/truncated_50pct.svs", "TRUNCATED"),
        ("malformed/svs_mutants/header_only_8b.svs", "TRUNCATED"),
        ("malformed/svs_mutants/empty.svs", "UNSUPPORTED_FORMAT"),
        ("malformed/broken.svs", "UNSUPPORTED_FORMAT"),
        ("malformed/unopenable.tiff", "UNSUPPORTED_FORMAT"),
        ("malformed/tifftools/bad_strip_offset.tif", "TRUNCATED"),
        ("malformed/tifftools/good_single.tif", "UNSUPPORTED_FORMAT"),
        ("malformed/svs_mutants/mpp_missing.svs", "MPP_MISSING"),
        ("malformed/svs_mutants/mpp_zero.svs", "MPP_IMPLAUSIBLE"),
        ("wsi/CropBreastSlide.tiff", "MPP_IMPLAUSIBLE"),
    ],
)
def test_what_is_no_slide_or_has_no_mpp_is_named(
    cli: Cli, real: Real, tmp_path: Path, name: str, code: str
) -> None:
    ended = cli("run", real(name), "-o", tmp_path / "run", *SMALL, "--json")
    (outcome,) = outcomes(ended).values()
    assert (ended.code, outcome["code"]) == (3, code)
    if code.startswith("MPP"):
        assert "--slide-mpp" in outcome["fix"]
        assert "manifest" in outcome["fix"]


def _tiff(width: int, height: int, next_ifd: int = 0) -> bytes:
    """A classic TIFF of one strip of `width` x `height` RGB pixels that are not there."""
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, 64),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (
        struct.pack("<2sHI", b"II", 42, 72)
        + bytes(64)
        + struct.pack("<H", len(tags))
        + entries
        + struct.pack("<I", next_ifd)
    )


def test_bombs_and_loops_cost_themselves_only(
    cli: Cli, tmp_path: Path, write_slide: Draw, tissue_pixels: Draw
) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    (slides / "bomb.tif").write_bytes(_tiff(60_000, 60_000))
    (slides / "absurd.tif").write_bytes(_tiff(2**31 - 1, 2**31 - 1))
    (slides / "loop.tif").write_bytes(_tiff(512, 512, next_ifd=72))
    tifffile.imwrite(slides / "flat.tif", np.zeros((30_000, 30_000), bool), compression="deflate")
    write_slide(slides / "good.tiff", tissue_pixels(600), 0.5)
    ended = cli("run", slides, "-o", tmp_path / "run", *SMALL, "--slide-mpp", "0.5", "--json")
    assert ended.code == 3
    found = codes(ended)
    assert found.pop("good") == ""
    assert set(found) == {"bomb", "absurd", "loop", "flat"}
    assert set(found.values()) <= {"LIMIT", "TRUNCATED", "UNSUPPORTED_FORMAT", "DECODER_CRASH"}, found
    assert max(outcome["seconds"] for outcome in outcomes(ended).values()) < 10


def test_a_lost_chunk_is_found_and_healed(
    cli: Cli, tmp_path: Path, write_slide: Draw, tissue_pixels: Draw
) -> None:
    slide = write_slide(tmp_path / "a.tiff", tissue_pixels(600), 0.5)
    cli("run", slide, "-o", tmp_path / "run", *SMALL)
    (tmp_path / "run/embeddings/a.zarr/features/c/0/0").unlink()
    ended = cli("verify", tmp_path / "run", "--json")
    assert ended.code == 4
    assert [(p["slide_id"], p["array"]) for p in json.loads(ended.out)["problems"]] == [("a", "features")]
    assert cli("run", slide, "-o", tmp_path / "run", *SMALL).code == 0
    assert cli("verify", tmp_path / "run").code == 0


def test_a_full_disk_ends_with_5_and_keeps_what_is_finished(
    cli: Cli, tmp_path: Path, write_slide: Draw, tissue_pixels: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_slide(tmp_path / f"{name}.tiff", tissue_pixels(600), 0.5)
    cli("run", tmp_path / "a.tiff", "-o", tmp_path / "run", *SMALL)
    from slidestream.features import disk

    def full(file: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write_all", full)
        ended = cli("run", tmp_path, "-o", tmp_path / "run", *SMALL)
    assert ended.code == 5
    assert "DISK_FULL" in ended.err
    assert cli("verify", tmp_path / "run").code == 0
    with pytest.raises(StoreIncomplete):
        open_store(tmp_path / "run/embeddings/b.zarr")
    assert cli("run", tmp_path, "-o", tmp_path / "run", *SMALL).code == 0


HOSTILE = [
    "a b",
    "new\nline",
    "-rf",
    "<img onerror=alert(1)>",
    "=cmd()",
    "café",
    "cafe\u0301",
    "x" * 60,
    "percent%20",
    "quote'\"",
    "dots..",
    "[bold]rich",
]


def test_hostile_names_round_trip(cli: Cli, tmp_path: Path, write_slide: Draw, tissue_pixels: Draw) -> None:
    slides, run = tmp_path / "slides", tmp_path / "run"
    slides.mkdir()
    pixels = tissue_pixels(400)
    for name in HOSTILE:
        write_slide(slides / f"{name}.tiff", pixels, 0.5)
    (slides / "sub").mkdir()
    write_slide(slides / "sub/a b.tiff", pixels, 0.5)
    (slides / "sub/loop").symlink_to(slides)
    ended = cli("run", slides, "-o", run, *SMALL, "--json")
    assert ended.code == 0
    names = set(outcomes(ended))
    assert names == {*HOSTILE, "a b.tiff", "sub/a b.tiff"} - {"a b"}
    stores = {open_store(path).slide_id for path in (run / "embeddings").iterdir()}
    assert stores == names
    assert {row["slide_id"] for row in json.loads(cli("status", run, "--json").out)["inputs"]} == names
    assert "0 damaged" in cli("verify", run).out
    assert "up to date" in cli("run", slides, "-o", run, *SMALL).out


def test_no_tissue_is_neither_done_nor_failed(cli: Cli, tmp_path: Path, write_slide: Draw) -> None:
    write_slide(tmp_path / "white.tiff", np.full((600, 600, 3), 244, np.uint8), 0.5)
    ended = cli("run", tmp_path / "white.tiff", "-o", tmp_path / "run", *SMALL, "--json")
    assert (ended.code, outcomes(ended)["white"]["status"]) == (0, "no_tissue")
    assert open_store(tmp_path / "run/embeddings/white.zarr").thumbnail().size > 0
    assert "NO_TISSUE" in ended.err
