"""Slices turned the way radiologists look at them, whichever way the file stores them.

One scan may come as DICOM (rows run to the patient's left, columns to the back) and as NIfTI
(often right and front). An encoder would see two different pictures; so a volume's in-plane axes
are swapped and mirrored, never resampled, to the viewing convention of the plane its slices lie in:

    axial     x to the left,  y to the back,  z to the head    LPS
    coronal   x to the left,  y to the feet,  z to the back    LIP
    sagittal  x to the back,  y to the feet,  z to the right   PIR
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .stack import Affine, Plane

LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
VIEWS = ("PIR", "LIP", "LPS")


@dataclass(frozen=True)
class Turn:
    """How a stored grid becomes the presented one: swap x and y, then mirror axes."""

    swap: bool
    mirror: tuple[bool, bool, bool]

    def size(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The presented (x, y, z) voxel counts of a grid stored as `shape`."""
        x, y, z = shape
        return (y, x, z) if self.swap else (x, y, z)

    def plane(self, stored: Plane) -> Plane:
        """A stored slice (y, x), presented."""
        turned = stored.T if self.swap else stored
        return np.ascontiguousarray(turned[:: -1 if self.mirror[1] else 1, :: -1 if self.mirror[0] else 1])

    def matrix(self, shape: tuple[int, int, int]) -> Affine:
        """4x4, presented voxel index -> stored voxel index."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        stored_axes = (1, 0, 2) if self.swap else (0, 1, 2)
        for presented, stored in enumerate(stored_axes):
            matrix[stored, presented] = -1 if self.mirror[presented] else 1
            matrix[stored, 3] = shape[stored] - 1 if self.mirror[presented] else 0
        return matrix


def axis_codes(affine: Affine) -> str:
    """Where each voxel axis points, nearest patient axis: `LPS`, `RAS`, ... Oblique axes are rounded."""
    direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(
        itertools.permutations(range(3)),
        key=lambda world: sum(abs(direction[w, axis]) for axis, w in enumerate(world)),
    )
    return "".join(LETTERS[w][int(direction[w, axis] > 0)] for axis, w in enumerate(best))


def turn_to_view(affine: Affine) -> Turn:
    """The turn from a stored grid to the viewing convention of its slices."""
    codes = axis_codes(affine)
    worlds = [_world(code) for code in codes]
    wanted = VIEWS[worlds[2]]
    swap = worlds[0] != _world(wanted[0])
    presented = codes[1] + codes[0] + codes[2] if swap else codes
    x, y, z = (have != want for have, want in zip(presented, wanted, strict=True))
    return Turn(swap, (x, y, z))


def _world(code: str) -> int:
    return next(axis for axis, letters in enumerate(LETTERS) if code in letters)
