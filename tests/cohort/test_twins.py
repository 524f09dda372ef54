"""The same content under several names: read once, a store each, and said so before and after."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slidestream.cohort import process as module
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, Summary, run_cohort, verify_run
from slidestream.features.layout import store_path
from slidestream.tiling.spec import PatchSpec

CONFIG = RunConfig("mean", PatchSpec(64, 1.0))
Cli = Callable[..., Any]
Draw = Callable[..., Any]


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


def run(inputs: Path | list[Path], folder: Path, config: RunConfig = CONFIG, readers: int = 0) -> Summary:
    found = find_inputs(inputs if isinstance(inputs, list) else [inputs]).inputs
    return run_cohort(RunOrder(found, config, folder, Execution(readers=readers)), Silent())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def same_as(summary: Summary) -> dict[str, str]:
    return {outcome.slide_id: outcome.same_as for outcome in summary.outcomes}


@pytest.fixture
def slides(tmp_path: Path, write_slide: Draw, tissue_pixels: Draw) -> Path:
    """a, b and c are one slide; x is as large but another; the last byte of y differs."""
    folder = tmp_path / "slides"
    (folder / "sub").mkdir(parents=True)
    write_slide(folder / "a.tiff", tissue_pixels(500, 1), 0.5)
    shutil.copy(folder / "a.tiff", folder / "b.tiff")
    shutil.copy(folder / "a.tiff", folder / "sub/c.tif")
    write_slide(folder / "x.tiff", tissue_pixels(500, 2), 0.5)
    data = (folder / "a.tiff").read_bytes()
    (folder / "y.tiff").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert len({path.stat().st_size for path in folder.rglob("*.tif*")}) == 1
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the patches of each slide are read."""
    counted: Counter[str] = Counter()
    real = module.read_here

    def read_here(job: Any) -> Any:
        counted[job.input.slide_id] += 1
        return real(job)

    monkeypatch.setattr("slidestream.cohort.readers.read_here", read_here)
    return counted


@pytest.mark.usefixtures("mean_encoder")
def test_each_content_is_read_once_and_each_name_has_the_store_it_would_have_had(
    slides: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    summary = run(slides, tmp_path / "run")
    assert reads == {"a": 1, "x": 1, "y": 1}
    assert same_as(summary) == {"a": "", "x": "", "y": "", "b": "a", "c": "a"}
    first = summary.outcomes[0]
    assert all(o.patches == first.patches > 0 for o in summary.outcomes if o.same_as)
    assert not any(problems for _, problems in verify_run(tmp_path / "run"))
    for path in slides.rglob("*.tif*"):
        run(path, tmp_path / "alone")
    assert tree(tmp_path / "run/embeddings") == tree(tmp_path / "alone/embeddings")
    assert run(slides, tmp_path / "run").outcomes == []


@pytest.mark.usefixtures("mean_encoder")
def test_stores_of_earlier_runs_serve_too_also_of_slides_renamed_since(
    slides: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    run([slides / "b.tiff", slides / "x.tiff"], tmp_path / "run")
    (slides / "x.tiff").rename(slides / "renamed.svs")
    summary = run(slides, tmp_path / "run")
    assert same_as(summary) == {"a": "b", "c": "b", "renamed": "x", "y": ""}
    assert reads == {"b": 1, "x": 1, "y": 1}


@pytest.mark.usefixtures("mean_encoder")
def test_another_mpp_is_another_content(slides: Path, tmp_path: Path, reads: Counter[str]) -> None:
    manifest = tmp_path / "m.csv"
    rows = ["path,slide_id,mpp", "slides/a.tiff,one,", "slides/a.tiff,two,", "slides/a.tiff,fine,0.25"]
    manifest.write_text("\n".join(rows))
    assert same_as(run(manifest, tmp_path / "run")) == {"fine": "", "one": "", "two": "one"}
    assert reads == {"fine": 1, "one": 1}


@pytest.mark.usefixtures("mean_encoder")
@pytest.mark.parametrize("damage", ["a flipped bit", "a lost chunk", "no longer that content"])
def test_what_is_not_whole_is_not_copied(
    slides: Path, tmp_path: Path, reads: Counter[str], damage: str
) -> None:
    run(slides / "a.tiff", tmp_path / "run")
    chunk = store_path(tmp_path / "run", "a") / "features/c/0/0"
    if damage == "a flipped bit":
        data = bytearray(chunk.read_bytes())
        data[5] ^= 1
        chunk.write_bytes(data)
    elif damage == "a lost chunk":
        chunk.unlink()
    else:
        shutil.copy(slides / "x.tiff", slides / "a.tiff")
    reads.clear()
    run([slides / "a.tiff", slides / "b.tiff"], tmp_path / "run")
    assert reads["b"] + reads["a"] >= 1
    run(slides / "b.tiff", tmp_path / "alone")
    assert tree(store_path(tmp_path / "run", "b")) == tree(store_path(tmp_path / "alone", "b"))


@pytest.mark.usefixtures("mean_encoder")
def test_where_the_first_fails_each_has_its_own_chance(tmp_path: Path, slides: Path) -> None:
    (slides / "a.tiff").write_bytes(b"no slide")
    shutil.copy(slides / "a.tiff", slides / "b.tiff")
    summary = run(slides, tmp_path / "run")
    codes = {outcome.slide_id: outcome.code for outcome in summary.outcomes}
    assert codes == {"a": "UNSUPPORTED_FORMAT", "b": "UNSUPPORTED_FORMAT", "c": "", "x": "", "y": ""}


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_plan_says_so_before_and_run_after(cli: Cli, slides: Path, tmp_path: Path) -> None:
    options = ["-o", tmp_path / "run", "--encoder", "mean", "--patch-size", "64", "--mpp", "1"]
    steps = {s["slide_id"]: s for s in json.loads(cli("plan", slides, *options, "--json").out)["steps"]}
    assert {key: (s["same_as"], s["reason"]) for key, s in steps.items()} == {
        "a": ("", "new"),
        "b": ("a", "new, same content as a"),
        "c": ("a", "new, same content as a"),
        "x": ("", "new"),
        "y": ("", "new"),
    }
    ended = cli("run", slides, *options)
    assert "b: same content as a, copied from it" in ended.err
    assert "5 done" in ended.out
    rows = {
        row["slide_id"]: row for row in json.loads(cli("status", tmp_path / "run", "--json").out)["inputs"]
    }
    assert {key: row["same_as"] for key, row in rows.items()} == {
        "a": "",
        "b": "a",
        "c": "a",
        "x": "",
        "y": "",
    }
