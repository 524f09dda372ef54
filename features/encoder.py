"""An encoder is a card and a module; a registry names them. Torch is loaded with the first module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from .card import EncoderCard
from .cards import CARDS, NULL, TEXTURE
from .zoo.registry import find_model, zoo
from .zoo.weights import sealed, verify, weights_path

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


BF16 = ("avx512_bf16", "amx_bf16")
"""Instructions of processors that multiply in bfloat16; without them it is slower than float32."""


def build_texture() -> Encoder:
    from .texture import Texture

    return Encoder(TEXTURE, Texture())


def build_null() -> Encoder:
    from .null import Null

    return Encoder(NULL, Null())


BUILDERS: dict[str, Callable[[], Encoder]] = {"texture": build_texture, "null": build_null}


def encoder_names() -> list[str]:
    """Names that `load_encoder` accepts; it also takes `timm:NAME` and the path of a YAML card."""
    return [*BUILDERS, *zoo()]


def known_card(name: str) -> EncoderCard:
    """The card of an encoder as it is published, whether or not its weights are here.

    Raises:
        UsageError: no such encoder; the known ones are named.
    """
    card = CARDS.get(name) or (None if name in BUILDERS else find_model(name))
    if card is None and name not in BUILDERS:
        raise UsageError(f"There is no encoder {name!r}.", f"Known encoders: {', '.join(encoder_names())}.")
    return card or BUILDERS[name]().card


def card_of(name: str) -> EncoderCard:
    """The card of an encoder with the hash of the weights on this machine; nothing is loaded for it.

    Raises:
        UsageError: no such encoder; the known ones are named.
        WeightsMissing: its weights are not here; the command that fetches them is named.
        WeightsChanged: its weights are not what they were.
    """
    return sealed(known_card(name), asked=name)


def load_encoder(name: str, device: str = "cpu") -> Encoder:
    """Build an encoder by name, on a device, ready for inference. Never goes to the network.

    Args:
        name: one of `encoder_names`, `timm:NAME`, or the path of a YAML card.
        device: a torch device, or "auto" for the GPU if there is one.

    Raises:
        UsageError: no such encoder; the known ones are named.
        WeightsMissing: its weights are not here; the command that fetches them is named.
        WeightsChanged: its weights are not what they were.
        EnvironmentProblem: its weights do not fit its architecture.
    """
    encoder = BUILDERS[name]() if name in BUILDERS else _load_model(card_of(name))
    encoder.module.eval().to(resolve_device(device))
    return encoder


def _load_model(card: EncoderCard) -> Encoder:
    from .zoo.model import load_model

    path = weights_path(card)
    verify(card, path)
    return Encoder(card, load_model(card, path))


def best_precision(card: EncoderCard, device: str) -> str:
    """The fastest precision that a device computes a network in by itself; "fp32" for built-in encoders.

    Args:
        device: a torch device, "auto", or several, of which the first decides.
    """
    if not card.architecture:
        return "fp32"
    import torch

    if resolve_device(device.partition(",")[0].strip()).startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if any(found.get(name) for name in BF16) else "fp32"


def resolve_device(name: str) -> str:
    """A torch device that is there; for "auto" the GPU if there is one.

    Raises:
        UsageError: several devices are named, or one that is not there.
    """
    if "," in name:
        raise UsageError(f"{name} is more than one device.", "Name one; only `run` takes several.")
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch that is built without CUDA asserts
        raise UsageError(
            f"Nothing can be computed on {name} here: {str(error).splitlines()[0]}.",
            "Use --device cpu, or auto for the GPU if there is one. `slidestream doctor` shows the devices.",
        ) from error
    return name
