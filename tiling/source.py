"""What tiling needs of a slide or a volume, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from ..identity import How


class Readable(Protocol):
    """What patches can be read from."""

    def read_patches(self, regions: Sequence[Region], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Read one patch per region into `out`, uint8 (B, H, W, 3); returns the status (B,).

        Status 1: the patch cannot be decoded; 2: not one pixel of it was scanned. Both leave zeros:
        never an invented white patch. Called from several threads at once.
        """
        ...


class PatchSource(Readable, Protocol):
    """A `Slide` or a `Volume`, seen as something that patches can be read from.

    All coordinates are level-0 pixels in (x, y[, z]) order.
    """

    @property
    def size(self) -> tuple[int, ...]:
        """Extent at full resolution in px, (x, y) or (x, y, z)."""
        ...

    @property
    def spacing(self) -> tuple[float, ...]:
        """Microns per pixel, one per axis, same order as `size`."""
        ...

    @property
    def bounds(self) -> Region:
        """The part that holds data: the whole extent unless the scanner says otherwise."""
        ...

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """The whole extent, at most `max_px` on its longer side, uint8 (H, W, 3)."""
        ...

    def identity(self, how: How = "fast") -> str:
        """Content hash, never a path or an mtime."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON facts for a store's attributes: kind, size, spacing, format; nothing about a patient."""
        ...
