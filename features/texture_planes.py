"""The grey pictures that the texture descriptor measures: stains, luminance and saturation of a patch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional as F

from ..stain.hed import rgb_to_od, separate

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


@dataclass(frozen=True)
class Planes:
    """Pictures of one batch of patches, all float32.

    Attributes:
        hed: stain concentrations (B, 3, H, W): hematoxylin, eosin, residual; decadic optical density.
        luminance: (B, 1, H, W) in 0..1, in steps of 1/255.
        saturation: (B, 1, H, W) in 0..1, as in HSV.
    """

    hed: torch.Tensor
    luminance: torch.Tensor
    saturation: torch.Tensor

    @property
    def hematoxylin(self) -> torch.Tensor:
        """(B, 1, H, W)."""
        return self.hed[:, :1]

    @property
    def eosin(self) -> torch.Tensor:
        """(B, 1, H, W)."""
        return self.hed[:, 1:2]

    @cached_property
    def nuclear_and_grey(self) -> torch.Tensor:
        """The two pictures (B, 2, H, W) whose texture counts: hematoxylin and luminance."""
        return torch.cat([self.hematoxylin, self.luminance], 1)

    @cached_property
    def pyramid(self) -> tuple[torch.Tensor, ...]:
        """`nuclear_and_grey` at full, half, quarter and eighth resolution."""
        levels = [self.nuclear_and_grey]
        for _ in range(3):
            levels.append(F.avg_pool2d(levels[-1], 2))
        return tuple(levels)


def planes_of(pixels: torch.Tensor) -> Planes:
    """Planes of uint8 RGB (B, 3, H, W)."""
    return Planes(separate(rgb_to_od(pixels)), _luminance(pixels), _saturation(pixels))


def _luminance(pixels: torch.Tensor) -> torch.Tensor:
    red, green, blue = pixels.float().chunk(3, 1)
    # Whole grey levels: flat areas stay flat, and comparisons of neighbours do not hang on the last bit.
    return (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]).round() / 255.0


def _saturation(pixels: torch.Tensor) -> torch.Tensor:
    high, low = pixels.amax(1, keepdim=True).float(), pixels.amin(1, keepdim=True).float()
    return (high - low) / high.clamp(min=1.0)
