"""The facts about one encoder that must travel from its weights to a prediction."""

from __future__ import annotations

from dataclasses import dataclass

from ..spec import Spec


@dataclass(frozen=True)
class EncoderCard(Spec):
    """What an encoder is and what it must be fed.

    Attributes:
        name: registry name.
        source: where architecture and weights come from ("built-in" for descriptors without weights).
        revision: pinned version of the weights, or of the algorithm.
        sha256: hash of the weights file; empty for encoders without weights.
        licence: of the weights.
        gated: whether the weights must be asked for.
        dim: length of one embedding; 0 for an encoder that computes none.
        input_px: side of the square the network sees, after resizing.
        mean, std: per-channel normalisation of RGB in 0..1, as published.
        resize: side the patch is resized to before a centre crop to `input_px`; 0 for none.
        interpolation: of that resize, "bilinear" or "bicubic".
        pooling: how tokens become one embedding.
        prefix_tokens: class and register tokens before the patch tokens.
        patch_px: recommended patch side in px.
        spacings: allowed patch spacings in µm per px, the recommended one first; empty for any.
    """

    name: str
    source: str
    revision: str
    sha256: str
    licence: str
    gated: bool
    dim: int
    input_px: int
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resize: int = 0
    interpolation: str = "bilinear"
    pooling: str = "none"
    prefix_tokens: int = 0
    patch_px: int = 224
    spacings: tuple[float, ...] = ()
