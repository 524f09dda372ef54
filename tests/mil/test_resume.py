"""A run killed in its third fold goes on, to the same bytes, and only where nothing was changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slidestream.mil.fit import EpochReport
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train
from slidestream.mil.unfinished import Unfinished

SPEC = TrainSpec(folds=4, epochs=3, hidden=16, attention=8, bootstrap=5)

KILLED = """
import os, signal, sys
from slidestream.mil.train import train
from slidestream.mil.spec import TrainSpec

def told(report):
    if report.fold == 2 and report.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)

run, labels, head = sys.argv[1:]
train(run, labels, head, TrainSpec(folds=4, epochs=3, hidden=16, attention=8, bootstrap=5), told)
"""


def killed_in_the_third_fold(cohort: tuple[Path, Path], head: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, *map(str, cohort), str(head)], check=False)
    assert ended.returncode == -signal.SIGKILL


def folds_trained(cohort: tuple[Path, Path], head: Path, spec: TrainSpec) -> list[int]:
    told: list[EpochReport] = []
    train(*cohort, head, spec, told.append)
    return sorted({report.fold for report in told})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on_to_the_same_bytes(cohort: tuple[Path, Path], tmp_path: Path) -> None:
    assert folds_trained(cohort, tmp_path / "whole", SPEC) == [0, 1, 2, 3]
    killed_in_the_third_fold(cohort, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    assert folds_trained(cohort, tmp_path / "killed", SPEC) == [2, 3]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def interrupted(cohort: tuple[Path, Path], head: Path) -> None:
    """Two folds are kept, as after a kill in the third."""

    def stop(report: EpochReport) -> None:
        if report.fold == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*cohort, head, SPEC, stop)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"lr": 2e-3}, {"task": "link"}])
def test_a_changed_spec_starts_afresh(cohort: tuple[Path, Path], tmp_path: Path, changed: dict) -> None:
    interrupted(cohort, tmp_path / "head")
    assert folds_trained(cohort, tmp_path / "head", replace(SPEC, **changed)) == [0, 1, 2, 3]


def test_changed_labels_start_afresh(own_cohort: tuple[Path, Path], tmp_path: Path) -> None:
    run, labels = own_cohort
    interrupted((run, labels), tmp_path / "head")
    lines = labels.read_text().splitlines()
    lines[1] = lines[1].replace("patient 0", "patient new")
    labels.write_text("\n".join(lines) + "\n")
    assert folds_trained((run, labels), tmp_path / "head", SPEC) == [0, 1, 2, 3]


def test_half_written_weights_are_trained_again(cohort: tuple[Path, Path], tmp_path: Path) -> None:
    interrupted(cohort, tmp_path / "head")
    kept = tmp_path / ".head.training" / "fold-1.safetensors"
    kept.write_bytes(kept.read_bytes()[:-7])
    assert folds_trained(cohort, tmp_path / "head", SPEC) == [1, 2, 3]


def test_another_key_forgets(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    first = Unfinished(tmp_path / "head", "one")
    epochs = [{"fold": 0.0, "epoch": 0.0, "train_loss": 0.5, "validation_loss": None, "lr": 1e-3}]
    first.keep(0, layer.state_dict(), epochs)
    kept = Unfinished(tmp_path / "head", "one").kept(0)
    assert kept is not None
    assert torch.equal(kept.weights["weight"], layer.weight)
    assert kept.epochs == epochs
    assert Unfinished(tmp_path / "head", "two").kept(0) is None
    assert Unfinished(tmp_path / "head", "one").kept(0) is None
