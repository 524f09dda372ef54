"""An encoder is a card and a module; a registry names the builders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..errors import UsageError
from .card import EncoderCard


@dataclass(frozen=True)
class Encoder:
    """A card with the module that fulfils it.

    Attributes:
        card: what the module is and needs.
        module: maps uint8 (B, 3, H, W), on the module's device, to float32 (B, card.dim).
    """

    card: EncoderCard
    module: nn.Module

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, dim) in float32 of patches uint8 (B, 3, H, W)."""
        embeddings: torch.Tensor = self.module(pixels)
        if embeddings.shape != (len(pixels), self.card.dim):
            raise RuntimeError(
                f"encoder {self.card.name} gave {tuple(embeddings.shape)}, its card says (B, {self.card.dim})"
            )
        return embeddings.float()


def build_texture() -> Encoder:
    from .texture import CARD, Texture

    return Encoder(CARD, Texture())


def build_null() -> Encoder:
    from .null import CARD, Null

    return Encoder(CARD, Null())


BUILDERS: dict[str, Callable[[], Encoder]] = {"texture": build_texture, "null": build_null}


def encoder_names() -> list[str]:
    """Names that `load_encoder` accepts."""
    return list(BUILDERS)


def load_encoder(name: str, device: str = "cpu") -> Encoder:
    """Build an encoder by name, on a device, ready for inference.

    Raises:
        UsageError: no such encoder; the known ones are named.
    """
    if name not in BUILDERS:
        raise UsageError(f"There is no encoder {name!r}.", f"Known encoders: {', '.join(BUILDERS)}.")
    encoder = BUILDERS[name]()
    encoder.module.eval().to(device)
    return encoder
