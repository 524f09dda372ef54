"""A DICOM series as a stack of slices, decoded one by one when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .grid import check_grid
from .header import SliceHeader
from .pixels import stored_values
from .placement import check_slices, place
from .stack import Affine, Plane


class DicomStack:
    """The slices of one series, in the order of their positions; pixels are read when asked for.

    Raises:
        UnsupportedFormat, BadGeometry, MppImplausible, LimitExceeded: see `check_slices`, `place`
            and `check_grid`.
    """

    format = "dicom"

    def __init__(self, headers: Sequence[SliceHeader]) -> None:
        check_slices(headers)
        self._slices, self._affine = place(headers)
        check_grid(self._affine, self.shape)

    @property
    def modality(self) -> str:
        return self._slices[0].modality

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._slices[0].columns, self._slices[0].rows, len(self._slices)

    @property
    def affine(self) -> Affine:
        return self._affine

    @property
    def paths(self) -> list[Path]:
        return [header.path for header in self._slices]

    def plane(self, z: int) -> Plane:
        header = self._slices[z]
        stored = _positive(stored_values(header), header)
        slope = 1.0 if header.slope is None else header.slope
        return (stored * slope + (header.intercept or 0.0)).astype(np.float32)

    def close(self) -> None:
        """Nothing is held open."""


def _positive(stored: NDArray[np.int64], header: SliceHeader) -> NDArray[np.int64]:
    """MR stored as MONOCHROME1 is a negative picture: mirror its range of stored values.

    Hounsfield units are absolute: a CT's values are the same whichever way they are displayed.
    """
    if header.photometric != "MONOCHROME1" or header.modality == "CT":
        return stored
    return (-1 if header.signed else (1 << header.bits) - 1) - stored
