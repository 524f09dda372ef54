"""An encoder is a card and a module; a registry names the builders. Torch is loaded with the first module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from .card import EncoderCard
from .cards import CARDS, NULL, TEXTURE

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Encoder:
    """A card with the module that fulfils it.

    Attributes:
        card: what the module is and needs.
        module: maps uint8 (B, 3, H, W), on the module's device, to float32 (B, card.dim).
    """

    card: EncoderCard
    module: nn.Module

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, dim) in float32 of patches uint8 (B, 3, H, W)."""
        import torch

        with torch.inference_mode():
            embeddings: torch.Tensor = self.module(pixels)
        if embeddings.shape != (len(pixels), self.card.dim):
            raise RuntimeError(
                f"encoder {self.card.name} gave {tuple(embeddings.shape)}, its card says (B, {self.card.dim})"
            )
        return embeddings.float()


def build_texture() -> Encoder:
    from .texture import Texture

    return Encoder(TEXTURE, Texture())


def build_null() -> Encoder:
    from .null import Null

    return Encoder(NULL, Null())


BUILDERS: dict[str, Callable[[], Encoder]] = {"texture": build_texture, "null": build_null}


def encoder_names() -> list[str]:
    """Names that `load_encoder` accepts."""
    return list(BUILDERS)


def card_of(name: str) -> EncoderCard:
    """The card of an encoder; a built-in one is not loaded for it.

    Raises:
        UsageError: no such encoder; the known ones are named.
    """
    return CARDS.get(name) or load_encoder(name).card


def load_encoder(name: str, device: str = "cpu") -> Encoder:
    """Build an encoder by name, on a device, ready for inference.

    Args:
        device: a torch device, or "auto" for the GPU if there is one.

    Raises:
        UsageError: no such encoder; the known ones are named.
    """
    if name not in BUILDERS:
        raise UsageError(f"There is no encoder {name!r}.", f"Known encoders: {', '.join(BUILDERS)}.")
    encoder = BUILDERS[name]()
    encoder.module.eval().to(resolve_device(device))
    return encoder


def resolve_device(name: str) -> str:
    """A torch device for "auto": the GPU if there is one."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
