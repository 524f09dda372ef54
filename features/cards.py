"""The cards of the built-in encoders: what they need can be known without loading them, or torch."""

from __future__ import annotations

from .card import EncoderCard

TEXTURE = EncoderCard(
    name="texture",
    source="built-in",
    revision="1",
    sha256="",
    licence="Apache-2.0",
    gated=False,
    dim=183,
    input_px=224,
    patch_px=224,
    least_px=64,
    spacings=(1.0,),
)

NULL = EncoderCard(
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

CARDS = {card.name: card for card in (TEXTURE, NULL)}
