"""What TensorBoard reads back is what was told; without it, the extra is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slidestream.errors import MissingExtra
from slidestream.mil.fit import EpochReport
from slidestream.mil.tensorboard import TensorBoardLog


def test_every_fold_has_a_curve(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with TensorBoardLog(tmp_path) as log:
        for fold in (0, 1):
            for epoch in range(3):
                log(EpochReport(fold, epoch, 1.0 + epoch, 0.5 * fold + epoch, 1e-3, 0.1, 0.0, 2))
    for fold in (0, 1):
        read = accumulator.EventAccumulator(str(tmp_path / f"fold-{fold}")).Reload()
        found = [(event.step, event.value) for event in read.Scalars("loss/validation")]
        assert found == [(epoch, 0.5 * fold + epoch) for epoch in range(3)]
        assert [event.value for event in read.Scalars("loss/train")] == [1, 2, 3]


def test_without_it_the_extra_is_named_before_training(
    cohort: tuple[Path, Path], tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"slidestream\[tensorboard\]"):
        TensorBoardLog(tmp_path)
    run, labels = cohort
    ended = cli("train", run, "--labels", labels, "-o", tmp_path / "head", "--tensorboard", tmp_path / "log")
    assert ended.code == 5
    assert "training fold" not in ended.err
