"""Damaged files through the real `run`: what they cost, and what they do not."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from slidestream import errors
from slidestream.features.card import EncoderCard
from slidestream.features.encoder import BUILDERS, Encoder
from slidestream.features.store import open_store

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64


class _Pixels(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float().flatten(1)


@pytest.fixture
def pixel_encoder(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an encoder whose embedding is the patch itself, so that equal means bit by bit."""
    card = EncoderCard(
        "pixels", "test", "1", "", "none", False, dim=3 * SIDE**2, input_px=SIDE, patch_px=SIDE
    )
    monkeypatch.setitem(BUILDERS, "pixels", lambda: Encoder(card, _Pixels()))
    return "pixels"


def damaged_tile(clean: Path, broken: Path) -> tuple[float, float, float, float]:
    """The one tile whose bytes differ, (left, top, right, bottom) in level-0 px: from the files alone."""
    with tifffile.TiffFile(clean) as a, tifffile.TiffFile(broken) as b:
        first, second = (list(_tiles(tiff)) for tiff in (a, b))
        width, side = a.pages[0].imagewidth, a.pages[0].tilewidth
    (number,) = [i for i, (x, y) in enumerate(zip(first, second, strict=True)) if x != y]
    row, column = divmod(number, -(-width // side))
    return column * side, row * side, (column + 1) * side, (row + 1) * side


def _tiles(tiff: tifffile.TiffFile) -> Iterator[bytes]:
    for start, count in zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True):
        tiff.filehandle.seek(start)
        yield tiff.filehandle.read(count)


def touching(corners: Any, extent: float, tile: tuple[float, ...], reach: float = 0.0) -> Any:
    """Which patches of `extent` level-0 px lie on the tile, or within `reach` of it: bool (N,)."""
    low, high = np.array(tile[:2]) - reach, np.array(tile[2:]) + reach
    return ((corners < high) & (corners + extent > low)).all(axis=1)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("factor", "reach"),
    [
        (1, 0.0),  # as scanned
        (2, 0.0),  # tiles reduced while they are decoded
        (1.5, 6.0),  # resampled: what lies within the filter's reach may be lost as well
    ],
)
def test_a_garbage_tile_loses_the_patches_on_it_and_no_others(
    cli: Callable[..., Any],
    real: Callable[[str], Path],
    pixel_encoder: str,
    tmp_path: Path,
    factor: float,
    reach: float,
) -> None:
    clean, broken = (
        real("wsi/CMU-1-Small-Region.svs"),
        real("malformed/svs_mutants/tile_jpeg_garbage.svs"),
    )
    options = ["--encoder", pixel_encoder, "--mpp", str(0.499 * factor), "--min-tissue", "0"]
    ended = cli("run", clean, broken, "-o", tmp_path / "run", *options, "--max-unreadable", "1", "--json")
    assert ended.code == 0
    whole, store = (open_store(tmp_path / f"run/embeddings/{path.stem}.zarr") for path in (clean, broken))
    np.testing.assert_array_equal(store.coords(), whole.coords())
    tile, extent, lost = damaged_tile(clean, broken), SIDE * factor, store.status() == 1
    on_it = touching(store.coords(), extent, tile)
    assert 4 <= on_it.sum() < 0.1 * len(on_it)
    assert lost[on_it].all()
    assert not lost[~touching(store.coords(), extent, tile, reach)].any()
    assert (whole.status() == 0).all()
    assert np.isnan(store.features()[lost]).all()
    np.testing.assert_array_equal(store.features()[~lost], whole.features()[~lost])
    outcomes = {o["slide_id"]: o for o in json.loads(ended.out)["outcomes"]}
    assert outcomes[broken.stem]["unreadable"] == lost.sum()


@pytest.fixture(scope="module")
def malformed() -> ModuleType:
    name = "malformed_benchmark"
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks/malformed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def known_codes() -> set[str]:
    """The code of every error that is about an input."""
    kinds = [errors.InputError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.code for kind in kinds}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_every_damaged_file_ends_with_a_code_and_in_bounds(
    malformed: ModuleType, real: Callable[[str], Path], tmp_path: Path
) -> None:
    paths = malformed.files_under(real("malformed"))
    rows = [malformed.measure(path, tmp_path / str(number)) for number, path in enumerate(paths)]
    assert len(rows) >= 22
    for row in rows:
        assert row.exit_code == (0 if row.outcome in ("done", "no_tissue") else 3), row
        assert row.outcome in {"done", "no_tissue"} | known_codes(), row
        assert 0 < row.reader_mib < 2048, row
    found = {row.file: row.outcome for row in rows}
    assert found["tile_zero_length.svs"] == "done"
    assert found["truncated_50pct.svs"] == "TRUNCATED"
    assert found["tile_jpeg_garbage.svs"] == "UNREADABLE"
