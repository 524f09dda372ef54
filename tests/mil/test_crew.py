"""Folds trained at once: the same bytes as one after the other, and no process is left behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from slidestream.errors import EnvironmentProblem, UsageError
from slidestream.mil.cases import Cases
from slidestream.mil.crew import Task, train_at_once
from slidestream.mil.fit import EpochReport, FoldJob, Progress
from slidestream.mil.spec import TrainSpec
from slidestream.mil.standardise import Moments
from slidestream.mil.train import train

SPEC = TrainSpec(folds=4, epochs=3, hidden=16, attention=8, bootstrap=5)
Cohort = tuple[Path, Path]


def weights(head: Path) -> dict[str, bytes]:
    names = [*(f"fold-{k}.safetensors" for k in range(4)), "history.jsonl", "predictions.csv"]
    return {name: (head / name).read_bytes() for name in names}


def test_folds_trained_at_once_go_on_after_a_stop_to_the_same_bytes(cohort: Cohort, tmp_path: Path) -> None:
    train(*cohort, tmp_path / "alone", SPEC)
    told: list[EpochReport] = []

    def stop(report: EpochReport) -> None:
        told.append(report)
        if report.fold > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*cohort, tmp_path / "crew", replace(SPEC, jobs=2), stop)
    assert len({report.fold for report in told}) > 1
    assert multiprocessing.active_children() == []
    kept = list((tmp_path / ".crew.training").glob("*.safetensors"))
    assert 1 <= len(kept) < 4
    again: list[EpochReport] = []
    train(*cohort, tmp_path / "crew", SPEC, again.append)  # alone
    assert {report.fold for report in again} == set(range(4)) - {int(path.stem[5:]) for path in kept}
    assert weights(tmp_path / "crew") == weights(tmp_path / "alone")
    lines = [json.loads(line) for line in (tmp_path / "alone" / "history.jsonl").read_text().splitlines()]
    assert [(line["fold"], line["epoch"]) for line in lines] == [(f, e) for f in range(4) for e in range(3)]
    assert multiprocessing.active_children() == []


def alone(run: Path, spec: TrainSpec, progress: Progress) -> list[object]:
    """One fold of four slides, in a process of its own."""
    pairs = [("s00", 0), ("s02", 1), ("s04", 0), ("s06", 1)]
    cases = Cases(run, {slide: (slide,) for slide, _ in pairs})
    moments = Moments.of_bag(cases.loader(0)("s00"))
    job = FoldJob(3, 2, pairs[:2], pairs[2:], moments, seed=0)
    return list(train_at_once([job], Task(cases, spec), progress))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_process_that_dies_is_named(cohort: Cohort) -> None:
    def kill(report: EpochReport) -> None:
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)  # type: ignore[arg-type]

    with pytest.raises(EnvironmentProblem, match=r"trained fold 4 ended \(SIGKILL\).*fewer --jobs"):
        alone(cohort[0], replace(SPEC, epochs=4000, patience=4000), kill)
    assert multiprocessing.active_children() == []


def test_what_a_process_raises_is_raised(cohort: Cohort) -> None:
    with pytest.raises(UsageError, match="There is no head 'none'"):
        alone(cohort[0], replace(SPEC, head="none"), print)
