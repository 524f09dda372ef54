"""Preprocessing, trunk and pooling as one module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import UsageError
from ..card import EncoderCard
from .architectures import build_trunk, build_with_values
from .checkpoint import fill
from .pooling import POOLINGS, pool
from .preprocess import Preprocess


class Model(nn.Module):
    """uint8 (B, 3, H, W) -> (B, card.dim)."""

    trunk: Any

    def __init__(self, card: EncoderCard, trunk: nn.Module) -> None:
        super().__init__()
        if card.pooling not in ("model", *POOLINGS):
            raise UsageError(f"Encoder {card.name}: pooling must be model, {', '.join(POOLINGS)}.")
        self._card = card
        self.preprocess = Preprocess(card)
        self.trunk = trunk

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        prepared = self.preprocess(pixels)
        if self._card.pooling == "model":
            return self.trunk(prepared)  # type: ignore[no-any-return]
        tokens = self.trunk.forward_features(prepared)
        return pool(tokens, self._card.pooling, self._card.prefix_tokens)


def load_model(card: EncoderCard, weights: Path) -> Model:
    """The card's model with its weights, in evaluation mode, on the CPU.

    Raises:
        UsageError: the card's architecture, pooling or interpolation is not known.
        EnvironmentProblem: the file holds other weights.
    """
    trunk = fill(build_trunk(card), weights, card)
    if any(t.is_meta for t in trunk.buffers()):
        # Tables that are computed when a network is built, and that no file holds.
        trunk = fill(build_with_values(card), weights, card)
    # Pixels come channels-last, as they are read; convolutions with such weights take them as they are.
    return Model(card, trunk.requires_grad_(False)).eval().to(memory_format=torch.channels_last)
