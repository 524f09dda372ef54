"""A head only understands the embeddings it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ContractMismatch
from ..features.card import EncoderCard
from ..spec import Spec, differences

# Facts about an encoder that can change while every embedding stays the same.
DESCRIPTIVE = ("source", "file", "licence", "gated", "patch_px", "least_px", "spacings", "facts", "stain")


@dataclass(frozen=True)
class EmbeddingContract(Spec):
    """What gives an embedding its meaning.

    Of the patch spec only the side in px and the spacing count: they decide what the encoder is
    shown. Overlap, tissue threshold, padding and the upsampling limit decide which patches are in a
    bag; a bag is a set whose size and sampling differ from slide to slide anyway, so a head may
    meet bags that were sampled otherwise. Of the encoder card everything counts, the hash of the weights
    above all, except where they came from, their licence, and the recommended patch and spacings.

    Attributes:
        kind: "slide" or "volume".
        encoder: the whole card.
        size_px: side of a patch in px.
        spacing: of a patch, µm per px.
        stain: how patches were normalised, None for not at all.
    """

    kind: str
    encoder: EncoderCard
    size_px: int
    spacing: float
    stain: dict[str, Any] | None = None

    @staticmethod
    def from_attributes(attributes: dict[str, Any]) -> EmbeddingContract:
        """The contract that a store's attributes state."""
        patch = attributes["patch"]
        return EmbeddingContract(
            kind=attributes["source"]["kind"],
            encoder=EncoderCard.from_dict(attributes["encoder"]),
            size_px=patch["size_px"],
            spacing=float(patch["spacing"]),
            stain=attributes["stain"],
        )

    def meaning(self) -> dict[str, Any]:
        """The fields that two sets of embeddings must share, as JSON values."""
        card = {key: value for key, value in self.encoder.to_dict().items() if key not in DESCRIPTIVE}
        return {
            "kind": self.kind,
            "encoder": card,
            "patch": {"size_px": self.size_px, "spacing": self.spacing},
            "stain": self.stain,
        }


def require_equal(needed: EmbeddingContract, found: EmbeddingContract, where: str) -> None:
    """Refuse embeddings that mean something else.

    Args:
        needed: what a head was trained on, or the first store of a run holds.
        found: what another store holds.
        where: names that store in the error.

    Raises:
        ContractMismatch: the fields that differ, each as `field: needed != found`.
    """
    lines = differences(needed.meaning(), found.meaning())
    if lines:
        raise ContractMismatch(
            f"{where} holds other embeddings than needed (needed != found): {'; '.join(lines)}.",
            "Use a run folder made with the needed encoder, patch spec and stain.",
        )
