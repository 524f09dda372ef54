"""Cards of slide encoders: networks from all patch embeddings of a slide to one embedding."""

from __future__ import annotations

from dataclasses import dataclass

from ...spec import Spec
from ..card import EncoderCard


@dataclass(frozen=True)
class SlideCard(Spec):
    """A slide encoder and the patch embeddings it was made for.

    Attributes:
        card: source, licence, architecture and `dim`, as of a patch encoder; `dim` 0 for that of the patches.
        needs: name of the patch encoder; empty for any.
    """

    card: EncoderCard
    needs: str


def _built_in(name: str) -> EncoderCard:
    return EncoderCard(name, "built-in", "1", "", "Apache-2.0", False, dim=0, input_px=0)


MEAN = SlideCard(_built_in("mean"), needs="")


def _published(name: str, repo: str, dim: int, **settings: object) -> EncoderCard:
    """The card of a gated slide encoder for patches at 0.5 µm, unless told otherwise."""
    usual: dict[str, object] = {
        "licence": "CC-BY-NC-ND-4.0",
        "pooling": "cls",
        "prefix_tokens": 1,
        "file": "model.safetensors",
        "keys": name,
    }
    fixed = {"name": name, "source": f"hf:{repo}", "revision": "", "sha256": "", "gated": True, "dim": dim}
    return EncoderCard.from_dict(usual | fixed | {"input_px": 0, "spacings": (0.5,)} | settings)


GIGAPATH = SlideCard(
    _published(
        "gigapath-slide",
        "prov-gigapath/prov-gigapath",
        768,
        licence="Apache-2.0",
        patch_px=256,
        file="slide_encoder.pth",
        architecture="longnet",
        keys="longnet",
        facts="Xu et al. 2024; settings as in the authors' code; the class token of the last layer.",
    ),
    needs="gigapath",
)
TITAN = SlideCard(
    _published(
        "titan",
        "MahmoodLab/TITAN",
        768,
        pooling="model",
        prefix_tokens=0,
        patch_px=512,
        architecture="titan",
        facts="Ding et al. 2024; sizes as in the published configuration, names of tensors as in public "
        "copies of the authors' code; the published file was not opened.",
    ),
    needs="conch-v1.5",
)
PRISM = SlideCard(
    _published(
        "prism",
        "paige-ai/Prism",
        1280,
        patch_px=224,
        architecture="perceiver",
        facts="Shaikovski et al. 2024; sizes are the defaults of the authors' configuration, names of "
        "tensors as in public copies of their code; the published file was not opened.",
    ),
    needs="virchow",
)

SLIDE_ENCODERS = {slide.card.name: slide for slide in (MEAN, GIGAPATH, TITAN, PRISM)}
