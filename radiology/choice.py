"""Which ramp a volume is read with, and on whose word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from .intensity import Kind, Scaling, Window, kind_of_values, percentile_scaling, window_scaling

Asked = Literal["auto", "ct", "mr"]


@dataclass(frozen=True)
class ScalingChoice:
    """What is known before a voxel is read: the file's modality and the user's wishes."""

    modality: str
    asked: Asked
    window: Window | None

    def without_voxels(self) -> Scaling | None:
        """The scaling, where it does not depend on the values."""
        kind, source = self._kind()
        if kind == "ct" or (kind == "mr" and self.window):
            return self._windowed(kind, source)
        return None

    def kind(self, samples: NDArray[np.float32]) -> Kind:
        """`ct` or `mr`; looks at the samples (any shape) only where nothing else says it.

        Raises:
            InputError: the values fit neither.
        """
        return self._kind()[0] or kind_of_values(samples)

    def scaling(self, kind: Kind, body: NDArray[np.float32]) -> Scaling:
        """The scaling for a kind found by `kind`, given the body's voxels (any shape)."""
        source = self._kind()[1]
        if kind == "ct" or self.window:
            return self._windowed(kind, source)
        return percentile_scaling(body, f"{kind} by {source}; 1st to 99th percentile of the body")

    def _kind(self) -> tuple[Kind | None, str]:
        if self.asked != "auto":
            return self.asked, "request"
        if self.modality in ("CT", "MR"):
            return cast("Kind", self.modality.lower()), "DICOM modality"
        if self.window:
            return "ct", "the window given"
        return None, "range of values"

    def _windowed(self, kind: Kind, source: str) -> Scaling:
        window = self.window or Window()
        shown = "window given" if self.window else "soft tissue window"
        return window_scaling(kind, window, f"{kind} by {source}; {shown}")
