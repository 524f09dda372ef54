"""`explain` says what a store records against what is asked; `retry` tries failures again, and only them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slidestream.cohort.twins import DEPENDS_ON
from slidestream.features.layout import store_path

Cli = Callable[..., Any]
Draw = Callable[..., Any]

OPTIONS = ["--encoder", "mean", "--patch-size", "64", "--mpp", "1", "--readers", "0"]


pytestmark = pytest.mark.usefixtures("in_this_process", "mean_encoder")


@pytest.fixture
def run(
    cli: Cli, tmp_path: Path, write_slide: Draw, tissue_pixels: Draw, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A run folder with two stores and one failure; called by relative paths, and left for another folder."""
    (tmp_path / "slides/else").mkdir(parents=True)
    write_slide(tmp_path / "slides/a.tiff", tissue_pixels(500, 1), 0.5)
    write_slide(tmp_path / "slides/b.tiff", tissue_pixels(500, 2), 0.5)
    write_slide(tmp_path / "slides/no-mpp.tiff", tissue_pixels(500, 3), None)
    monkeypatch.chdir(tmp_path)
    assert cli("run", "slides", "-o", "run", *OPTIONS).code == 3
    monkeypatch.chdir(tmp_path / "slides/else")
    return tmp_path / "run"


def explained(cli: Cli, run: Path, slide: str) -> dict[str, Any]:
    document = json.loads(cli("explain", run, slide, "--json").out)
    document["parts"] = {part["name"]: part["differences"] for part in document["parts"]}
    return dict(document)


def test_a_slide_that_is_up_to_date(cli: Cli, run: Path) -> None:
    found = explained(cli, run, "a")
    assert (found["status"], found["todo"]) == ("done", False)
    assert found["parts"] == {part: [] for part in (*DEPENDS_ON, "software")}
    assert "up to date" in cli("explain", run, "a").out


def test_a_changed_file_is_named_by_what_changed(
    cli: Cli, run: Path, write_slide: Draw, tissue_pixels: Draw
) -> None:
    write_slide(run.parent / "slides/a.tiff", tissue_pixels(600, 1), 0.25)
    found = explained(cli, run, "a")
    assert found["todo"] is True
    changed = [line.split(":")[0] for line in found["parts"]["source"]]
    assert changed == ["identity", "size", "spacing"]
    assert found["reason"].startswith("changed: source.identity")
    assert found["parts"]["patch"] == found["parts"]["encoder"] == []
    assert explained(cli, run, "b")["todo"] is False


def test_other_software_is_shown_and_makes_nothing_stale(
    cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slidestream.cohort.explain.software", lambda: {"numpy": "9.9"})
    found = explained(cli, run, "a")
    assert found["todo"] is False
    assert any(
        line.startswith("numpy: ") and line.endswith('!= "9.9"') for line in found["parts"]["software"]
    )


def test_a_failure_a_lost_file_and_an_unknown_slide(cli: Cli, run: Path) -> None:
    failed = explained(cli, run, "no-mpp")
    assert (failed["status"], failed["code"], failed["todo"]) == ("failed", "MPP_MISSING", True)
    assert "--slide-mpp" in failed["fix"]
    (run.parent / "slides/a.tiff").unlink()
    gone = explained(cli, run, "a")
    assert gone["reason"] == "its file no longer opens (INPUT_NOT_FOUND)"
    assert "source" not in gone["parts"]
    cli("status", run, "--rebuild")
    assert explained(cli, run, "b")["todo"] is None
    ended = cli("explain", run, "bb")
    assert (ended.code, "Did you mean 'b'?" in ended.err) == (2, True)
    assert cli("explain", run.parent, "b").code == 2


def test_retry_does_what_failed_or_is_damaged_and_nothing_else(
    cli: Cli, run: Path, write_slide: Draw, tissue_pixels: Draw
) -> None:
    def retried() -> tuple[int, dict[str, str]]:
        ended = cli("retry", run, "--readers", "0", "--json")
        return ended.code, {o["slide_id"]: o["code"] for o in json.loads(ended.out)["outcomes"]}

    assert retried() == (3, {"no-mpp": "MPP_MISSING"})
    write_slide(run.parent / "slides/no-mpp.tiff", tissue_pixels(500, 3), 0.5)
    chunk = store_path(run, "b") / "coords/c/0/0"
    chunk.write_bytes(chunk.read_bytes()[::-1])
    assert cli("verify", run).code == 4
    assert retried() == (0, {"b": "", "no-mpp": ""})
    assert cli("verify", run).code == 0
    assert retried() == (0, {})
    assert "nothing to do" in cli("retry", run, "--readers", "0").out
    assert cli("run", run.parent / "slides", "-o", run, *OPTIONS, "--json").out.count('"outcomes": []') == 1
