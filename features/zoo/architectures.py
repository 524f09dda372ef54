"""From a card's architecture to a network without weights.

A trunk is an `nn.Module`: float32 (B, 3, H, W), normalised, in; `forward_features` gives tokens (B, T, D),
prefix tokens first, and `forward` the network's own embedding (B, dim).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import timm
import torch
from timm import layers
from torch import nn

from ...errors import UsageError
from ..card import EncoderCard
from .conch import Conch
from .ctranspath import build_ctranspath
from .longnet import LongNet
from .perceiver import Perceiver
from .resnet import ResNetLayer3
from .titan import Titan

Builder = Callable[..., nn.Module]

ARCHITECTURES: dict[str, Builder] = {
    "conch-v1.5": Conch,
    "ctranspath": build_ctranspath,
    "longnet": LongNet,
    "perceiver": Perceiver,
    "resnet50-layer3": ResNetLayer3,
    "titan": Titan,
}
LAYERS = {"swiglu_packed": layers.SwiGLUPacked, "swiglu": layers.SwiGLU, "mlp": layers.Mlp}
"""What `mlp_layer` may name in a card, which holds plain values only."""


def build_trunk(card: EncoderCard) -> nn.Module:
    """The card's network, with no values in its tensors yet: it lies on torch's "meta" device.

    Raises:
        UsageError: the architecture is not known, or does not take the arguments.
    """
    with torch.device("meta"):
        return build_with_values(card)


def build_with_values(card: EncoderCard) -> nn.Module:
    """The card's network with random weights."""
    try:
        return _builder(card.architecture)(**card.arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"Encoder {card.name} cannot be built: {error}", "Check architecture and arguments of its card."
        ) from error


def _builder(architecture: str) -> Builder:
    kind, _, name = architecture.partition(":")
    if kind == "timm" and name:
        return partial(_timm, name)
    if architecture not in ARCHITECTURES:
        raise ValueError(f"no architecture {architecture!r}; known: timm:NAME, {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[architecture]


def _timm(name: str, **arguments: Any) -> nn.Module:
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **_resolved(arguments))
    return model


def _resolved(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with their names replaced by what timm takes."""
    resolved = dict(arguments)
    if "mlp_layer" in resolved:
        if resolved["mlp_layer"] not in LAYERS:
            raise ValueError(f"mlp_layer must be one of {', '.join(LAYERS)}")
        resolved["mlp_layer"] = LAYERS[resolved["mlp_layer"]]
    if "norm_eps" in resolved:
        resolved["norm_layer"] = partial(nn.LayerNorm, eps=resolved.pop("norm_eps"))
    return resolved
