"""What a head folder keeps of each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import Calibration, temper
from .intervals import Residuals
from .outcomes import Outcome
from .spec import TrainSpec


@dataclass(frozen=True)
class Kept:
    """A target, and what calibrates its answers.

    Attributes:
        outcome: the target.
        calibration: of classes, temperatures; of a number, its errors; None of others, and where the folder
            was written before there was one.
    """

    outcome: Outcome
    calibration: Calibration | Residuals | None

    def calibrated(
        self, raw: NDArray[np.float64], folds: Sequence[int], held_out: bool
    ) -> NDArray[np.float64]:
        """(K, A) answers of these heads; for a slide that they held out, each has its own temperature."""
        if not isinstance(self.calibration, Calibration):
            return raw
        own, new = self.calibration.fold_temperatures, self.calibration.temperature
        return temper(raw, np.array([[own[fold] if held_out else new] for fold in folds]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        kept = None if self.calibration is None else self.calibration.to_dict()
        return self.outcome.to_dict() | {"calibration": kept}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Kept:
        """The inverse of `to_dict`."""
        own = dict(values)
        kept = own.pop("calibration", None)
        outcome = Outcome.from_dict(own)
        kind = Calibration if outcome.target.has_classes else Residuals
        return Kept(outcome, None if kept is None else kind.from_dict(kept))


def written(kept: Sequence[Kept]) -> dict[str, Any]:
    """The classes and their calibration where they are all that is predicted; else every target."""
    first = kept[0].to_dict()
    if len(kept) == 1 and kept[0].outcome.target.has_classes:
        return {"classes": first["names"], "calibration": first["calibration"]}
    return {"targets": [one.to_dict() for one in kept]}


def read_kept(document: dict[str, Any], spec: TrainSpec) -> tuple[Kept, ...]:
    """The inverse of `written`."""
    if "targets" in document:
        return tuple(Kept.from_dict(values) for values in document["targets"])
    target, calibration = spec.asked[0].to_dict(), document.get("calibration")
    return (Kept.from_dict({"target": target, "names": document["classes"], "calibration": calibration}),)
