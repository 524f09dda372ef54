"""Stain augmentation: every patch gets a staining of its own, for the training of encoders.

D. Tellez et al., "Quantifying the effects of data augmentation and stain color normalization in
convolutional neural networks for computational pathology", Medical Image Analysis 58 (2019) 101544.
"""

from __future__ import annotations

import torch

from .hed import combine, rgb_to_od, separate

LIGHT, STRONG = 0.05, 0.2
"""The paper's two amounts."""


def jitter_stain(
    patches: torch.Tensor, amount: float = LIGHT, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Patches uint8 (B, 3, H, W) with each stain's concentration c turned into (1 + a) c + b.

    a and b are uniform in -amount to amount, drawn for each patch and for each of haematoxylin, eosin and
    DAB; concentrations are in decadic optical density.

    Args:
        generator: on the CPU; the same one gives the same patches on every device.
    """
    draws = torch.rand(2, len(patches), 3, 1, 1, generator=generator).mul_(2 * amount).sub_(amount)
    factor, shift = draws.to(patches.device)
    return combine(separate(rgb_to_od(patches)) * (1 + factor) + shift)
