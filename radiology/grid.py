"""Checks that voxels form the regular, right-angled grid that everything downstream assumes."""

from __future__ import annotations

import numpy as np

from ..errors import BadGeometry, LimitExceeded, MppImplausible
from .stack import Affine

PLAUSIBLE_MM = (0.005, 100.0)
MAX_SHEAR = 0.005
MAX_SLICE_PX = 1 << 26


def spacing_mm(affine: Affine) -> tuple[float, float, float]:
    """Voxel size along (x, y, z) in mm."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def check_grid(affine: Affine, shape: tuple[int, int, int]) -> None:
    """Refuse what cannot be read as a volume.

    Raises:
        BadGeometry: an empty axis, an affine that is not finite, or axes that are not at right
            angles (a tilted gantry shears a CT stack) by more than 0.005 (0.3 degrees).
        MppImplausible: a voxel outside 0.005 to 100 mm.
        LimitExceeded: more than 2**26 voxels in one slice.
    """
    if min(shape) < 1 or not np.isfinite(affine).all():
        raise BadGeometry(f"A grid of {shape} voxels has no size or no position.")
    if shape[0] * shape[1] > MAX_SLICE_PX:
        raise LimitExceeded(f"A slice of {shape[0]} x {shape[1]} voxels is over the limit of 2**26.")
    spacing = spacing_mm(affine)
    if not all(PLAUSIBLE_MM[0] <= s <= PLAUSIBLE_MM[1] for s in spacing):
        found = " x ".join(f"{s:g}" for s in spacing)
        raise MppImplausible(
            f"Voxels of {found} mm are outside {PLAUSIBLE_MM[0]} to {PLAUSIBLE_MM[1]} mm.",
            "Correct the spacing in the file.",
        )
    axes = affine[:3, :3] / np.array(spacing)
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if shear > MAX_SHEAR:
        tilt = np.degrees(np.arcsin(min(shear, 1.0)))
        raise BadGeometry(
            f"The voxel axes are {tilt:.1f} degrees off a right angle (a tilted gantry?).",
            "Resample the volume to a right-angled grid first.",
        )
