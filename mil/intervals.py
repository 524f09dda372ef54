"""Intervals that hold a number as often as asked: split-conformal prediction.

Half the width is a quantile of the absolute errors out of fold: Lei et al., 2018,
https://arxiv.org/abs/1604.04173. As with sets of classes, a new slide is predicted by the mean of all heads
and those of calibration by fewer, so that nothing exact is promised; its errors are rather smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..spec import Spec
from .conformal import conformal_quantile


@dataclass(frozen=True)
class Residuals(Spec):
    """What a head folder keeps of a number's errors.

    Attributes:
        folds: (S,) of each slide that was held out, the heads that did so.
        errors: (S,) absolute, of their mean.
    """

    folds: tuple[tuple[int, ...], ...]
    errors: tuple[float, ...]

    @staticmethod
    def of(held_out: NDArray[np.bool_], errors: NDArray[np.float64]) -> Residuals:
        """Of errors (S,) of slides, and which head held which out (H, S)."""
        folds = tuple(tuple(np.flatnonzero(column).tolist()) for column in held_out.T)
        return Residuals(folds, tuple(np.abs(errors).tolist()))


def interval_of(
    value: float, folds: Sequence[int], kept: Residuals, error_rate: float
) -> tuple[float, float]:
    """The interval around a prediction; endless where there are too few slides to promise so much.

    Args:
        value: predicted.
        folds: the heads that held this very slide out, empty for a new one.
        kept: the errors of the head folder.
        error_rate: share of slides whose interval may miss the truth.
    """
    if not 0 < error_rate < 1:
        raise UsageError(f"An error rate of {error_rate} is impossible.", "Use 0.1 for 10 %.")
    others = np.array([own != tuple(folds) for own in kept.folds])
    half = conformal_quantile(np.array(kept.errors)[others], error_rate)
    return value - half, value + half
