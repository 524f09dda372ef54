"""The facts about one encoder that must travel from its weights to a prediction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..spec import Spec

HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class EncoderCard(Spec):
    """What an encoder is and what it must be fed.

    Attributes:
        name: registry name.
        source: where the weights come from: "hf:ORG/REPO" or "hf-dataset:ORG/REPO" on the Hugging Face Hub,
            "file:PATH", or "built-in" for descriptors without weights.
        revision: pinned version of the weights, or of the algorithm; empty where none is known: then the
            first one that was fetched is kept.
        sha256: hash of the weights file; empty for encoders without weights, or where none was published.
        licence: of the weights.
        gated: whether the weights must be asked for.
        dim: length of one embedding; 0 for an encoder that computes none.
        input_px: side of the square the network sees, after resizing.
        mean, std: per-channel normalisation of RGB in 0..1, as published.
        resize: shorter side the patch is resized to before a centre crop to `input_px`; 0 for none.
        interpolation: of that resize, "bilinear" or "bicubic", with antialiasing.
        pooling: how tokens become one embedding: "cls", "mean" (of patch tokens), "cls+mean" (one after the
            other), "model" (the network's own), or "none".
        prefix_tokens: class and register tokens before the patch tokens.
        patch_px: recommended patch side in px.
        least_px: smallest patch side in px that it can take.
        spacings: allowed patch spacings in µm per px, the recommended one first; empty for any.
        file: the weights within the source.
        architecture: "timm:NAME", or a name of `features.zoo.architectures`; empty without weights.
        arguments: of the architecture.
        keys: how the tensors in the file are named, see `features.zoo.renaming`; empty: as in the
            architecture.
        stain: method that a run normalises patches by, unless told otherwise; None for none.
        facts: where these settings were read, and what is uncertain about them.
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
    least_px: int = 1
    spacings: tuple[float, ...] = ()
    file: str = ""
    architecture: str = ""
    arguments: dict[str, Any] = field(default_factory=dict, hash=False)
    keys: str = ""
    facts: str = ""
    stain: str | None = None

    @property
    def repo(self) -> str:
        """The Hub repository, or nothing."""
        return self.source.partition(":")[2] if self.source.startswith("hf") else ""

    @property
    def home(self) -> str:
        """The page with the licence, where gated weights are asked for; or nothing."""
        kind = "datasets/" if self.source.startswith("hf-dataset:") else ""
        return f"{HUB}{kind}{self.repo}" if self.repo else ""
