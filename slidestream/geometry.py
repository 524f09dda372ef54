"""Where things are: regions in level-0 pixels, (x, y[, z]) order, top-left origin."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """An axis-aligned box at full resolution.

    Attributes:
        origin: top-left corner in level-0 px, (x, y) or (x, y, z).
        extent: size in level-0 px, same order. Both may be fractional: a patch is so many
            microns wide, whatever that is in pixels.
    """

    origin: tuple[float, ...]
    extent: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.origin) != len(self.extent) or len(self.origin) not in (2, 3):
            raise ValueError(f"origin {self.origin} and extent {self.extent} need the same 2 or 3 axes")
        if min(self.extent) <= 0:
            raise ValueError(f"extent {self.extent} must be positive")

    @property
    def end(self) -> tuple[float, ...]:
        """The corner opposite to `origin`, exclusive."""
        return tuple(o + e for o, e in zip(self.origin, self.extent, strict=True))
