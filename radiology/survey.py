"""One pass over a volume's slices: where the body is, and the ramp its values are read with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadFailed, Unreadable
from .body import body_mask
from .choice import ScalingChoice
from .intensity import Scaling
from .stack import Plane

SURVEY_PX = 128


@dataclass(frozen=True)
class Survey:
    """What the pass found.

    Attributes:
        step: voxels per mask cell along x and y.
        mask: bool (D, h, w), the body.
        scaling: the ramp.
    """

    step: int
    mask: NDArray[np.bool_]
    scaling: Scaling


def survey(read: Callable[[int], Plane], size: tuple[int, int, int], choice: ScalingChoice) -> Survey:
    """Sample every slice at the centres of its mask cells; one slice is held at a time.

    Args:
        read: slice number -> float32 (y, x).
        size: voxels along (x, y, z).

    Raises:
        Unreadable: no slice can be decoded.
        InputError: the values fit neither CT nor MR, and nobody says which it is.
    """
    step = survey_step(size)
    samples = _samples(read, size, step)
    kind = choice.kind(samples)
    mask = body_mask(samples, kind)
    return Survey(step, mask, choice.scaling(kind, samples[mask] if mask.any() else samples))


def survey_step(size: tuple[int, int, int]) -> int:
    """Voxels per cell: as many as bring the longer side of a slice to at most 128 cells."""
    return -(-max(size[:2]) // SURVEY_PX)


def first_readable(read: Callable[[int], Plane], count: int) -> Plane:
    """The middle slice, or the nearest to it that can be decoded.

    Raises:
        Unreadable: none can.
    """
    for z in sorted(range(count), key=lambda z: abs(z - count // 2)):
        plane = _attempt(read, z)
        if plane is not None:
            return plane
    raise Unreadable(f"None of {count} slices can be decoded.")


def _samples(read: Callable[[int], Plane], size: tuple[int, int, int], step: int) -> NDArray[np.float32]:
    """float32 (D, h, w). An undecodable slice looks like its neighbour: were it to look like air, its
    patches would not be tried and its loss would go unseen."""
    x, y = (np.minimum(np.arange(0, n, step) + step // 2, n - 1) for n in size[:2])
    samples = np.empty((size[2], len(y), len(x)), dtype=np.float32)
    good = []
    for z in range(size[2]):
        plane = _attempt(read, z)
        if plane is not None:
            samples[z] = plane[np.ix_(y, x)]
            good.append(z)
    if not good:
        raise Unreadable(f"None of {size[2]} slices can be decoded.")
    for z in set(range(size[2])) - set(good):
        samples[z] = samples[min(good, key=lambda g: abs(g - z))]
    return samples


def _attempt(read: Callable[[int], Plane], z: int) -> Plane | None:
    try:
        return read(z)
    except ReadFailed:
        return None
