"""Which patches cover a slide or a volume: pure geometry in true microns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ..errors import TooSmall
from ..geometry import Region
from .spec import PatchSpec

SLAB = 3
"""Slices in one patch of a volume: a 2.5-D slab, its slices the three channels."""


@dataclass(frozen=True)
class Patch:
    """One cell of a grid: its row in the store and the level-0 region it covers."""

    index: int
    region: Region


class PatchGrid(Sequence[Patch]):
    """Patches in row-major order (z, then y, then x); `len`, slices and iteration come from Sequence.

    Attributes:
        origins: top-left corners (N, 2|3) int32 in level-0 px, (x, y[, z]) order.
        extent: level-0 px one patch covers along each axis; fractional, the same for all patches.
    """

    def __init__(self, origins: NDArray[np.int32], extent: tuple[float, ...]) -> None:
        self.origins = origins
        self.extent = extent

    @classmethod
    def cover(cls, bounds: Region, spacing: Sequence[float], spec: PatchSpec) -> PatchGrid:
        """The grid over `bounds`.

        A patch covers `spec.size_px * spec.spacing` microns, whatever that is in pixels on each axis.
        Corners are rounded down to whole level-0 pixels. Without padding, patches that would overhang
        are left out. Along z a patch is three slices; the last slab ends at the last slice.

        Args:
            bounds: the part to cover, in level-0 px.
            spacing: µm per level-0 px, one per axis.

        Raises:
            TooSmall: not one patch fits.
        """
        microns = spec.size_px * spec.spacing
        extent = [microns / spacing[0], microns / spacing[1]]
        axes = [_starts(bounds.extent[i], extent[i], spec) for i in range(2)]
        if len(bounds.origin) == 3:
            extent.append(float(SLAB))
            axes.append(_slab_starts(round(bounds.extent[2])))
        if not all(len(axis) for axis in axes):
            have = " x ".join(f"{bounds.extent[i] * spacing[i]:.0f}" for i in range(2))
            raise TooSmall(
                f"A patch is {microns:.0f} µm wide, the scanned area only {have} µm.",
                "Ask for smaller patches (--patch-size, --volume-px) or pass --padding to keep patches that "
                "overhang the edge.",
            )
        mesh = np.meshgrid(*reversed(axes), indexing="ij")
        corners = np.stack([axis.ravel() for axis in reversed(mesh)], axis=1) + np.array(bounds.origin)
        return cls(np.floor(corners).astype(np.int32), tuple(extent))

    def keep(self, selected: NDArray[np.bool_]) -> PatchGrid:
        """The patches where `selected` (N,) is true, renumbered."""
        return PatchGrid(self.origins[selected], self.extent)

    def sample(self, count: int, seed: int = 0) -> PatchGrid:
        """At most `count` patches at random, in grid order, renumbered."""
        chosen = np.random.default_rng(seed).permutation(len(self))[:count]
        return PatchGrid(self.origins[np.sort(chosen)], self.extent)

    def __len__(self) -> int:
        return len(self.origins)

    @overload
    def __getitem__(self, at: int) -> Patch: ...

    @overload
    def __getitem__(self, at: slice) -> list[Patch]: ...

    def __getitem__(self, at: int | slice) -> Patch | list[Patch]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        index = range(len(self))[at]
        origin = tuple(float(v) for v in self.origins[index])
        return Patch(index, Region(origin, self.extent))


def _starts(size: float, extent: float, spec: PatchSpec) -> NDArray[np.float64]:
    """Offsets of the patches along one in-plane axis of `size` px."""
    step = extent * (1 - spec.overlap)
    # The millionth: a patch as wide as the slide fits, also where rounding in the last digit says otherwise.
    count = math.ceil(size / step) if spec.padding else math.floor((size - extent + 1e-6) / step) + 1
    return step * np.arange(max(0, count), dtype=np.float64)


def _slab_starts(slices: int) -> NDArray[np.float64]:
    starts = list(range(0, max(1, slices - SLAB + 1), SLAB))
    if starts[-1] + SLAB < slices:
        starts.append(slices - SLAB)
    return np.array(starts, np.float64)
