"""The built-in encoder: classical descriptors of stain, texture and nuclei; no weights, no chance.

Each group is a module that names its source; `feature_names` says what every column is. Lengths are in px
of the patch, which at the card's spacing are µm. Columns are of order one: fractions, correlations, optical
densities, and logarithms of counts and energies over fixed units.
"""

from __future__ import annotations

import torch
from torch import nn

from ..errors import UsageError
from . import (
    texture_blobs,
    texture_colour,
    texture_cooccurrence,
    texture_lbp,
    texture_nuclei,
    texture_oriented,
    texture_structure,
)
from .cards import TEXTURE as CARD
from .slicewise import slicewise
from .texture_planes import planes_of


def feature_names() -> tuple[str, ...]:
    """What each column of the embedding is, `group.picture.statistic`."""
    return (
        *texture_colour.NAMES,
        *texture_nuclei.NAMES,
        *texture_blobs.NAMES,
        *texture_lbp.NAMES,
        *texture_oriented.NAMES,
        *texture_structure.NAMES,
        *texture_cooccurrence.NAMES,
    )


class Texture(nn.Module):
    """uint8 (B, 3, H, W) on any device -> float32 (B, CARD.dim), finite for every picture.

    Sides may be any from 64 px, below which the coarsest windows do not fit; the recommended one is 224.

    Raises:
        UsageError: a side below 64 px.
    """

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if min(pixels.shape[-2:]) < CARD.least_px:
            raise UsageError(
                f"Patches of {pixels.shape[-1]} x {pixels.shape[-2]} px are too small for encoder texture.",
                f"Use at least {CARD.least_px} px.",
            )
        if not len(pixels):
            return torch.empty(0, CARD.dim, device=pixels.device)
        return slicewise(_measured, pixels)


def _measured(pixels: torch.Tensor) -> torch.Tensor:
    planes = planes_of(pixels)
    mask = texture_nuclei.nuclear_mask(planes.hematoxylin)
    groups = [
        texture_colour.colour(planes),
        texture_nuclei.nuclei(planes, mask),
        texture_blobs.blobs(planes, mask),
        texture_lbp.lbp(planes),
        texture_oriented.oriented(planes),
        texture_structure.structure(planes),
        texture_cooccurrence.cooccurrence(planes),
    ]
    return torch.cat(groups, 1)
