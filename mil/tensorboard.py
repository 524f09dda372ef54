"""Losses of a training run for TensorBoard, a curve per fold."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import MissingExtra
from .fit import EpochReport


class TensorBoardLog:
    """Writes every epoch that it is told of, each fold to a folder of its own.

    Args:
        folder: what `tensorboard --logdir` is given.

    Raises:
        MissingExtra: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra(
                "TensorBoard is not installed.", "pip install 'slidestream[tensorboard]'"
            ) from error
        self._folder, self._open = folder, SummaryWriter
        self._writers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def __call__(self, report: EpochReport) -> None:
        """One epoch has ended."""
        if report.fold not in self._writers:
            self._writers[report.fold] = self._open(str(self._folder / f"fold-{report.fold}"))
        for tag, value in (
            ("loss/train", report.train_loss),
            ("loss/validation", report.validation_loss),
            ("lr", report.lr),
            ("seconds", report.seconds),
        ):
            if not math.isnan(value):  # no loss where nothing is set aside to stop by
                self._writers[report.fold].add_scalar(tag, value, report.epoch)
