"""What a run folder is asked to do otherwise than before: exactly what depends on it is done again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slidestream.features.store import open_store

Cli = Callable[..., Any]
Draw = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("in_this_process", "mean_encoder")

OPTIONS = ["--encoder", "mean", "--patch-size", "64", "--mpp", "1", "--readers", "0", "--json"]


@pytest.fixture(autouse=True)
def _large_from_one_mib_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files above 1 MiB are large; children would not know, so that everything is read in this process."""
    monkeypatch.setattr("slidestream.identity.WHOLE_BELOW", 1 << 20)
    monkeypatch.setattr("slidestream.identity.BLOCK", 64)
    monkeypatch.setattr("slidestream.identity.SAMPLES", 4)


@pytest.fixture
def slides(tmp_path: Path, write_slide: Draw, tissue_pixels: Draw) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder / "large.tiff", tissue_pixels(1500, 1), 0.5)
    write_slide(folder / "small.tiff", tissue_pixels(400, 2), 0.5)
    assert (folder / "large.tiff").stat().st_size > 5 << 20
    return folder


@pytest.fixture
def run(cli: Cli, slides: Path, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """`run(options)` runs the cohort again; returns why each slide was done, or "" where it was not."""

    def call(*options: object) -> dict[str, str]:
        plan = ["plan", slides, "-o", tmp_path / "run", *OPTIONS[:-3], *options, "--json"]
        steps = {s["slide_id"]: s for s in json.loads(cli(*plan).out)["steps"]}
        why = {slide: step["reason"] if step["todo"] else "" for slide, step in steps.items()}
        document = json.loads(cli("run", slides, "-o", tmp_path / "run", *OPTIONS, *options).out)
        assert {o["slide_id"] for o in document["outcomes"]} == {slide for slide in why if why[slide]}
        return why

    return call


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def identity(tmp_path: Path, slide: str) -> str:
    return str(open_store(tmp_path / f"run/embeddings/{slide}.zarr").attributes["source"]["identity"])


NEW = {"large": "new", "small": "new"}
NOTHING = {"large": "", "small": ""}
BETWEEN = 1_700_000
"""A place in the middle of the large slide that is in no sample: a pixel."""


def test_full_sees_a_changed_byte_in_the_middle_of_a_large_file(
    run: Callable[..., dict[str, str]], slides: Path, tmp_path: Path
) -> None:
    assert run("--identity", "full") == NEW
    flip(slides / "large.tiff", BETWEEN)
    why = run("--identity", "full")
    assert why.pop("large").startswith("changed: source.identity")
    assert why == {"small": ""}
    assert run("--identity", "full") == NOTHING


def test_fast_does_not_and_finds_it_when_full_is_asked_for(
    run: Callable[..., dict[str, str]], slides: Path, tmp_path: Path
) -> None:
    assert run() == NEW
    flip(slides / "large.tiff", BETWEEN)
    assert run() == NOTHING
    assert identity(tmp_path, "large").startswith("sampled-")


def test_from_fast_to_full_redoes_the_large_and_back_nothing(
    run: Callable[..., dict[str, str]], slides: Path, tmp_path: Path
) -> None:
    """Small files are read whole either way; what was made from all bytes is always compared by all."""
    run()
    assert run("--identity", "full") == {
        "large": "its content was only sampled when it was computed (--identity fast)",
        "small": "",
    }
    recorded = yaml.safe_load((tmp_path / "run/slidestream.yaml").read_text())
    assert recorded["config"]["identity"] == "full"
    assert run() == NOTHING
    assert not identity(tmp_path, "large").startswith("sampled-")
    flip(slides / "large.tiff", BETWEEN)
    assert run()["large"].startswith("changed: source.identity")


def test_one_slides_mpp_redoes_that_slide(cli: Cli, slides: Path, tmp_path: Path) -> None:
    for mpp, redone in (("", ["large", "small"]), ("0.25", ["small"]), ("0.25", [])):
        (slides / "m.csv").write_text(f"path,mpp\nlarge.tiff,\nsmall.tiff,{mpp}\n")
        document = json.loads(cli("run", slides / "m.csv", "-o", tmp_path / "run", *OPTIONS).out)
        assert [outcome["slide_id"] for outcome in document["outcomes"]] == redone


def test_a_lower_budget_fails_what_is_over_it_and_a_higher_one_mends_that(
    cli: Cli, real: Callable[[str], Path], slides: Path, tmp_path: Path
) -> None:
    shutil.copy(real("malformed/svs_mutants/tile_jpeg_garbage.svs"), slides / "bad.svs")
    command = ["run", slides, "-o", tmp_path / "run", *OPTIONS, "--min-tissue", "0", "--max-unreadable"]
    assert cli(*command, "0.1").code == 0
    ended = cli(*command, "0.001")
    assert [(o["slide_id"], o["code"]) for o in json.loads(ended.out)["outcomes"]] == [("bad", "UNREADABLE")]
    assert "more of its patches are unreadable than --max-unreadable allows now" in ended.err
    assert ended.code == 3
    assert json.loads(cli(*command, "0.1").out)["outcomes"] == [], "its store is still there"
    rows = json.loads(cli("status", tmp_path / "run", "--json").out)["inputs"]
    assert [(r["slide_id"], r["status"]) for r in rows] == [(s, "done") for s in ("bad", "large", "small")]


def test_the_ledger_follows_what_is_up_to_date(cli: Cli, slides: Path, tmp_path: Path) -> None:
    """A moved cohort is not read again, but where it lies now is noted; a lost ledger is made again."""
    cli("run", slides, "-o", tmp_path / "run", *OPTIONS)
    moved = slides.rename(tmp_path / "moved")
    for _ in range(2):
        assert json.loads(cli("run", moved, "-o", tmp_path / "run", *OPTIONS).out)["outcomes"] == []
        rows = json.loads(cli("status", tmp_path / "run", "--json").out)["inputs"]
        assert [(r["status"], r["path"]) for r in rows] == [
            ("done", str(moved / f"{name}.tiff")) for name in ("large", "small")
        ]
        (tmp_path / "run/ledger.sqlite").unlink()
