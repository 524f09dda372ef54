"""What a file format must offer to become a volume: its slices, as stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Affine = NDArray[np.float64]


class Stack(Protocol):
    """Parallel slices of one grid, in the axes and the order in which the file keeps them."""

    @property
    def format(self) -> str:
        """`nifti` or `dicom`."""
        ...

    @property
    def modality(self) -> str:
        """`CT`, `MR`, or `unknown` where the format does not say."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the stored (x, y, z) axes."""
        ...

    @property
    def affine(self) -> Affine:
        """4x4, stored voxel index (x, y, z, 1) -> patient position in mm, RAS axes."""
        ...

    @property
    def paths(self) -> Sequence[Path]:
        """The files the voxels come from, in the order of the slices."""
        ...

    def plane(self, z: int) -> Plane:
        """Slice `z` as float32 (y, x) in physical values: Hounsfield units for CT.

        Raises:
            ReadFailed: the slice cannot be decoded; the others can still be read.
        """
        ...

    def close(self) -> None:
        """Forget every voxel held in memory."""
        ...
