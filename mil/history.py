"""What training said of each epoch, kept as JSON lines."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence

from .fit import EpochReport, Progress

Epoch = dict[str, float | None]
"""fold, epoch, train_loss, validation_loss and lr. Not how long it took: equal runs have equal files."""


class History:
    """Remembers every epoch by its fold, and passes it on.

    Args:
        progress: who else is told.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self.epochs: dict[int, list[Epoch]] = defaultdict(list)

    def __call__(self, report: EpochReport) -> None:
        """One epoch has ended."""
        known = {name: _finite(getattr(report, name)) for name in ("train_loss", "validation_loss", "lr")}
        self.epochs[report.fold].append({"fold": report.fold, "epoch": report.epoch} | known)
        if self._progress:
            self._progress(report)

    def all(self) -> list[Epoch]:
        """Fold by fold, epoch by epoch."""
        return [epoch for fold in sorted(self.epochs) for epoch in self.epochs[fold]]


def json_lines(epochs: Sequence[Epoch]) -> str:
    """One line per epoch."""
    return "".join(json.dumps(epoch, allow_nan=False) + "\n" for epoch in epochs)


def read_json_lines(text: str) -> list[Epoch]:
    """The inverse of `json_lines`."""
    return [json.loads(line) for line in text.splitlines()]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
