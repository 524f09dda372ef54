"""What a patch goes through before the network, on its device: resize, crop, normalisation, as published."""

from __future__ import annotations

import torch
from torch import nn

from ...errors import UsageError
from ..card import EncoderCard
from .resize import FILTERS, resize


class Preprocess(nn.Module):
    """uint8 (B, 3, H, W) -> float32 (B, 3, input_px, input_px), as the card says.

    Raises:
        UsageError: patches that the card does not resize and that are smaller than the network's input.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, card: EncoderCard) -> None:
        super().__init__()
        if card.interpolation not in FILTERS:
            raise UsageError(f"Encoder {card.name}: interpolation must be one of {', '.join(FILTERS)}.")
        self._card = card
        self.register_buffer("mean", torch.tensor(card.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(3, 1, 1), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if self._card.resize:
            pixels = resize(pixels, self._card.resize, self._card.interpolation)
        # In place: the same numbers, and no new memory for each step.
        return self._cropped(pixels).to(torch.float32, copy=True).div_(255).sub_(self.mean).div_(self.std)

    def _cropped(self, pixels: torch.Tensor) -> torch.Tensor:
        side = self._card.input_px
        height, width = pixels.shape[-2:]
        if min(height, width) < side:
            raise UsageError(
                f"Encoder {self._card.name} takes {side} px; the patches have {width} x {height}.",
                f"Use --patch-size {self._card.patch_px}.",
            )
        # Python rounds halves to even, as the reference does for an odd margin.
        top, left = round((height - side) / 2), round((width - side) / 2)
        return pixels[..., top : top + side, left : left + side]
