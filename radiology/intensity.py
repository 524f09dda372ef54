"""Stored intensities to 0..1: Hounsfield windows for CT, body percentiles for MR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..spec import Spec
from .stack import Plane

Kind = Literal["ct", "mr"]

PERCENTILES = (1.0, 99.0)
AIR_HU = -500.0
CT_BELOW = 3072.0
MR_NEGATIVE = 0.05


@dataclass(frozen=True)
class Window(Spec):
    """A grey-level window: `center` shows as 0.5, `center - width / 2` as 0, `center + width / 2` as 1.

    In Hounsfield units for CT (the default is soft tissue), in stored units for MR. The ramp is
    DICOM's LINEAR_EXACT function (PS3.3, C.11.2.1.3).
    """

    center: float = 40.0
    width: float = 400.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.center) and np.isfinite(self.width) and self.width > 0):
            raise UsageError(f"A window of center {self.center} and width {self.width} shows nothing.")


@dataclass(frozen=True)
class Scaling(Spec):
    """The linear ramp a volume is read with: `low` and below is 0, `high` and above is 1.

    Attributes:
        kind: `ct` or `mr`.
        low, high: in Hounsfield units (ct) or stored units (mr).
        rule: how the kind and the ramp were chosen, for the record.
    """

    kind: str
    low: float
    high: float
    rule: str

    def apply(self, values: Plane) -> Plane:
        """float32 of any shape in 0..1; a voxel that is not a number counts as air, 0."""
        span = max(self.high - self.low, float(np.finfo(np.float32).tiny))
        ramp = np.clip((values.astype(np.float64) - self.low) / span, 0.0, 1.0)
        return np.nan_to_num(ramp, nan=0.0).astype(np.float32)


def window_scaling(kind: Kind, window: Window, rule: str) -> Scaling:
    """The ramp of a window."""
    return Scaling(kind, window.center - window.width / 2, window.center + window.width / 2, rule)


def percentile_scaling(body: NDArray[np.float32], rule: str) -> Scaling:
    """The 1st to the 99th percentile of the body's voxels (any shape): MR has no absolute units."""
    finite = body[np.isfinite(body)]
    low, high = np.percentile(finite, PERCENTILES) if finite.size else (0.0, 1.0)
    return Scaling("mr", float(low), float(high), rule)


def kind_of_values(samples: NDArray[np.float32]) -> Kind:
    """What a file that names no modality holds, by its values: the rule of `scaling="auto"`.

    `ct` where the 1st percentile is at most -500 (air, in Hounsfield units) and the 99th below
    3072 (an MR phase image reaches as far up as down). `mr` where values are not negative, give or
    take 5 % of the 99th percentile (ringing of an earlier resampling). Anything between is not
    guessed: a CT cropped to soft tissue looks like a standardised MR.

    Raises:
        InputError: the values fit neither.
    """
    finite = samples[np.isfinite(samples)]
    low, high = np.percentile(finite, PERCENTILES) if finite.size else (0.0, 0.0)
    if low <= AIR_HU and high < CT_BELOW:
        return "ct"
    if low >= -MR_NEGATIVE * max(high, 0.0):
        return "mr"
    raise InputError(
        f"The file names no modality, and values from {low:g} to {high:g} fit neither CT nor MR.",
        "Say which it is: --scaling ct or --scaling mr.",
    )
