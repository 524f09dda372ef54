"""A card for any network that timm can build and whose weights it knows: natural images, mostly."""

from __future__ import annotations

from typing import Any

import timm
import torch

from ...errors import UsageError
from ..card import EncoderCard


def timm_card(name: str) -> EncoderCard:
    """The card of `timm:NAME`: the network's own pooled embedding, and timm's published transform.

    Raises:
        UsageError: timm has no such name, or knows no weights on the Hub for it.
    """
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False, num_classes=0)
    except (RuntimeError, ValueError, TypeError) as error:
        raise UsageError(f"timm has no model {name!r}.", f"Similar: {_similar(name)}.") from error
    known: dict[str, Any] = model.pretrained_cfg
    if not known.get("hf_hub_id"):
        raise UsageError(f"timm knows no weights on the Hub for {name!r}.", "Write a card with their place.")
    side = int(known["input_size"][-1])
    return EncoderCard(
        name=f"timm:{name}",
        source=f"hf:{known['hf_hub_id']}",
        revision="",
        sha256="",
        licence=str(known.get("license") or "unconfirmed, see its page"),
        gated=False,
        dim=int(model.head_hidden_size if hasattr(model, "head_hidden_size") else model.num_features),
        input_px=side,
        mean=tuple(map(float, known["mean"])),
        std=tuple(map(float, known["std"])),
        resize=int(side / known["crop_pct"]),
        interpolation=known["interpolation"],
        pooling="model",
        patch_px=side,
        file="model.safetensors",
        architecture=f"timm:{name}",
        facts=f"timm {timm.__version__}: its configuration of {name}.",
    )


def _similar(name: str) -> str:
    stem = name.partition(".")[0]
    return ", ".join(timm.list_models(f"*{stem[:12]}*", pretrained=True)[:5]) or "see timm.list_models()"
