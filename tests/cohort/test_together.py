"""Several encoders in one pass: pixels are read once, and each store is what a run of its own would give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slidestream.cohort import reading
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, Summary, run_cohort, run_together
from slidestream.errors import UsageError
from slidestream.features.card import EncoderCard
from slidestream.features.encoder import BUILDERS, Encoder
from slidestream.features.store import open_store
from slidestream.tiling.spec import PatchSpec

PATCH = PatchSpec(64, 1.0, min_tissue=0.5)
BATCH = 2


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


class Spread(torch.nn.Module):
    """The spread of each colour; fails on demand."""

    fails = False

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.fails:
            raise RuntimeError("no")
        return pixels.float().std(dim=(2, 3))


@pytest.fixture
def encoders(mean_encoder: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of three encoders that are quick and known by hand; the last wants other patches."""
    spread = EncoderCard("spread", "test", "1", "", "none", False, dim=3, input_px=64, patch_px=64)
    fine = EncoderCard("fine", "test", "1", "", "none", False, 3, 64, patch_px=64, spacings=(0.5,))
    monkeypatch.setitem(BUILDERS, "spread", lambda: Encoder(spread, Spread()))
    monkeypatch.setitem(BUILDERS, "fine", lambda: Encoder(fine, Spread()))
    monkeypatch.setattr(Spread, "fails", False)
    from slidestream.cohort.process import cached_embedder

    cached_embedder.cache_clear()
    return [mean_encoder, "spread", "fine"]


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for seed, name in enumerate("ab"):
        write_slide(folder / f"{name}.tiff", tissue_pixels(1200, seed), 0.5)
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first row of every batch that is read within this process."""
    rows: list[int] = []
    original = reading.stream_patches

    def counted(source: Any, grid: Any, how: Any, *more: Any) -> Any:
        for number, batch in enumerate(original(source, grid, how, *more)):
            rows.append(how.first + number * how.batch_size)
            yield batch

    monkeypatch.setattr(reading, "stream_patches", counted)
    return rows


def order(slides: Path, run: Path, encoder: str, **means: Any) -> RunOrder:
    inputs = find_inputs([slides]).inputs
    how = Execution(**{"workers": 1, "batch_size": BATCH, "readers": 0} | means)
    return RunOrder(inputs, RunConfig(encoder, PATCH), run, how)


def together(slides: Path, out: Path, names: list[str], **means: Any) -> list[Summary]:
    return run_together([order(slides, out / name, name, **means) for name in names], Silent())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def alone(slides: Path, out: Path, names: list[str]) -> dict[str, dict[str, bytes]]:
    """What runs of one encoder each write."""
    for name in names:
        run_cohort(order(slides, out / name, name), Silent())
    return {name: tree(out / name / "embeddings") for name in names}


@pytest.mark.parametrize("readers", [0, 2])
def test_stores_are_those_of_runs_of_their_own(
    slides: Path, tmp_path: Path, encoders: list[str], read: list[int], readers: int
) -> None:
    two = encoders[:2]
    summaries = together(slides, tmp_path / "both", two, readers=readers)
    once = len(read)
    expected = alone(slides, tmp_path / "alone", two)
    assert {name: tree(tmp_path / "both" / name / "embeddings") for name in two} == expected
    assert [[outcome.status for outcome in s.outcomes] for s in summaries] == [["done", "done"]] * 2
    if not readers:
        assert len(read) - once == 2 * once > 8, "alone, every patch is read for each"
    assert all(s.outcomes == [] for s in together(slides, tmp_path / "both", two, readers=readers))


def test_an_encoder_that_is_added_is_all_that_is_computed(
    slides: Path, tmp_path: Path, encoders: list[str]
) -> None:
    together(slides, tmp_path / "both", encoders[:1])
    before = tree(tmp_path / "both/mean")
    added = together(slides, tmp_path / "both", encoders[:2])
    assert [len(summary.outcomes) for summary in added] == [0, 2]
    after = tree(tmp_path / "both/mean")
    assert {k: v for k, v in after.items() if "embeddings" in k} == {
        k: v for k, v in before.items() if "embeddings" in k
    }
    assert tree(tmp_path / "both/spread/embeddings") == alone(slides, tmp_path / "a", ["spread"])["spread"]


def test_an_encoder_that_fails_costs_no_other(
    slides: Path, tmp_path: Path, encoders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spread, "fails", True)
    mean, spread = together(slides, tmp_path / "both", encoders[:2])
    assert [outcome.status for outcome in mean.outcomes] == ["done", "done"]
    assert [outcome.code for outcome in spread.outcomes] == ["INTERNAL", "INTERNAL"]
    assert list((tmp_path / "both/spread").glob("embeddings/*")) == []
    monkeypatch.setattr(Spread, "fails", False)
    together(slides, tmp_path / "both", encoders[:2])
    expected = alone(slides, tmp_path / "alone", encoders[:2])
    assert {name: tree(tmp_path / "both" / name / "embeddings") for name in encoders[:2]} == expected


def test_a_slide_that_fails_fails_for_all(slides: Path, tmp_path: Path, encoders: list[str]) -> None:
    (slides / "bad.tiff").write_bytes(b"no slide")
    summaries = together(slides, tmp_path / "both", encoders[:2])
    assert [[o.slide_id for o in s.failures] for s in summaries] == [["bad"], ["bad"]]
    assert [[o.status for o in s.outcomes] for s in summaries] == [["done", "done", "failed"]] * 2


class Impatient(Silent):
    def __init__(self, at: int) -> None:
        self.at = at

    def patches(self, slide_id: str, done: int, total: int) -> None:
        if done >= self.at:
            raise KeyboardInterrupt


def test_each_goes_on_after_its_own_rows(
    slides: Path, tmp_path: Path, encoders: list[str], read: list[int]
) -> None:
    """One encoder was stopped after 8 patches, both after 4: the rows of either are not computed again."""
    (slides / "b.tiff").unlink()
    both = tmp_path / "both"
    with pytest.raises(KeyboardInterrupt):
        run_cohort(order(slides, both / "mean", "mean"), Impatient(8))
    with pytest.raises(KeyboardInterrupt):
        run_cohort(order(slides, both / "spread", "spread"), Impatient(4))
    read.clear()
    together(slides, both, encoders[:2])
    assert read[0] == 4, "reading goes on where the later one stopped"
    expected = alone(slides, tmp_path / "alone", encoders[:2])
    assert {name: tree(both / name / "embeddings") for name in encoders[:2]} == expected


def test_twins_are_copied_in_every_folder(slides: Path, tmp_path: Path, encoders: list[str]) -> None:
    (slides / "twin.tiff").write_bytes((slides / "a.tiff").read_bytes())
    summaries = together(slides, tmp_path / "both", encoders[:2])
    assert [[o.same_as for o in s.outcomes] for s in summaries] == [["", "", "a"]] * 2


def test_other_patches_are_one_usage_error(slides: Path, tmp_path: Path, encoders: list[str]) -> None:
    orders = [order(slides, tmp_path / name, name) for name in encoders[:2]]
    odd = RunOrder(orders[0].inputs, RunConfig("fine", PatchSpec(64, 0.5)), tmp_path / "c", Execution())
    with pytest.raises(UsageError, match=r"spacing: 1.0 != 0.5"):
        run_together([*orders, odd], Silent())
    assert not (tmp_path / "c").exists()
    assert not (tmp_path / "mean").exists()


def test_the_command(slides: Path, tmp_path: Path, encoders: list[str], cli: Callable[..., Any]) -> None:
    patches = [slides, "--patch-size", 64, "--mpp", 1]
    given = [*patches, "--readers", 0, "--device", "cpu"]
    two = [word for name in encoders[:2] for word in ("--encoder", name)]
    out = tmp_path / "out"
    planned = json.loads(cli("plan", *patches, "-o", out, *two, "--json").out)
    assert [len(plan["steps"]) for plan in planned["runs"]] == [2, 2]
    ended = cli("run", *given, "-o", out, *two, "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)["runs"]
    assert [run["run"] for run in told] == [str(out / "mean"), str(out / "spread")]
    assert [run["counts"]["done"] for run in told] == [2, 2]
    features = [open_store(out / name / "embeddings/a.zarr").features() for name in encoders[:2]]
    assert features[0].shape == features[1].shape
    assert not np.array_equal(*features)
    assert cli("run", *given, "-o", out / "mean", *two).code == 2, "a run folder of one encoder"
    assert cli("run", *given, "-o", out, "--encoder", "mean", "--encoder", "mean").code == 2
    every = [word for name in encoders for word in ("--encoder", name)]
    ended = cli("run", slides, "-o", tmp_path / "x", *every)
    assert ended.code == 2
    assert ended.err.count("!=") >= 1
    assert not (tmp_path / "x").exists()
