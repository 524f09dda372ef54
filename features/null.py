"""The encoder that computes nothing: every patch is read, only coordinates and status are kept."""

from __future__ import annotations

import torch
from torch import nn

from .card import EncoderCard

CARD = EncoderCard(
    name="null",
    source="built-in",
    revision="1",
    sha256="",
    licence="Apache-2.0",
    gated=False,
    dim=0,
    input_px=224,
    patch_px=224,
    spacings=(),
)


class Null(nn.Module):
    """uint8 (B, 3, H, W) -> float32 (B, 0)."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.empty(len(pixels), 0, device=pixels.device)
