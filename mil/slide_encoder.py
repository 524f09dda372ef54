"""One embedding of a whole slide, by a slide encoder that was made for its patch embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import ContractMismatch, UsageError
from ..features.card import EncoderCard
from ..features.encoder import known_card, resolve_device
from ..features.layout import list_stores
from ..features.store import Store, open_store
from ..features.zoo.slides import SLIDE_ENCODERS, SlideCard
from ..features.zoo.weights import sealed, verify, weights_path
from ..spec import differences
from .bags import bag_from_store
from .contract import EmbeddingContract, require_equal

ROUNDED = 1.0
"""Px by which the distance of two rounded corners may fall short."""


class Mean(nn.Module):
    """The mean over all patches: the baseline that any other must beat."""

    def forward(self, embeddings: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return embeddings.mean(0)


@dataclass(frozen=True)
class SlideEncoder:
    """A card, with the hash of its weights, and the module that fulfils it.

    Attributes:
        module: maps embeddings (N, D) and places (N, 2), column and row in patches, to (dim,).
        device: where the module lies.
    """

    card: SlideCard
    module: nn.Module
    device: str


def load_slide_encoder(name: str, device: str = "cpu") -> SlideEncoder:
    """Build a slide encoder by name, ready for inference. Never goes to the network.

    Raises:
        UsageError: no such slide encoder; the known ones are named.
        WeightsMissing, WeightsChanged, EnvironmentProblem: as `load_encoder`.
    """
    if name not in SLIDE_ENCODERS:
        raise UsageError(f"There is no slide encoder {name!r}.", f"Known: {', '.join(SLIDE_ENCODERS)}.")
    known = SLIDE_ENCODERS[name]
    card = sealed(known.card)
    device = resolve_device(device)
    module = _with_weights(card) if card.architecture else Mean()
    return SlideEncoder(SlideCard(card, known.needs), module.eval().to(device), device)


def _with_weights(card: EncoderCard) -> nn.Module:
    from ..features.zoo.architectures import build_trunk
    from ..features.zoo.checkpoint import fill

    path = weights_path(card)
    verify(card, path)
    return fill(build_trunk(card), path, card).requires_grad_(False)


def require_fit(slide: SlideCard, found: EmbeddingContract, where: str) -> None:
    """Refuse patch embeddings that a slide encoder was not made for.

    Raises:
        ContractMismatch: the fields that differ, each as `field: needed != found`.
    """
    if not slide.needs:
        return
    patch = known_card(slide.needs)
    needed = {
        "kind": "slide",
        "encoder": {"name": patch.name, "dim": patch.dim, "pooling": patch.pooling},
        "patch": {"size_px": slide.card.patch_px, "spacing": slide.card.spacings[0]},
    }
    theirs = found.encoder
    lines = differences(
        needed,
        {
            "kind": found.kind,
            "encoder": {"name": theirs.name, "dim": theirs.dim, "pooling": theirs.pooling},
            "patch": {"size_px": found.size_px, "spacing": found.spacing},
        },
    )
    if lines:
        raise ContractMismatch(
            f"{where} holds other embeddings than {slide.card.name} takes (needed != found): "
            f"{'; '.join(lines)}.",
            f"Run the slides with --encoder {slide.needs}.",
        )


def places_of(coords: torch.Tensor, extent: torch.Tensor) -> torch.Tensor:
    """Column and row (N, 2), in patches, of corners (N, 2) in px, of patches as large as `extent` (2,) px.

    Corners are rounded to whole px, so that one may lie a little before the place it stands for.
    """
    first = coords.amin(0)
    cells = [((corners + ROUNDED) / extent).floor() for corners in (first, coords - first)]
    return cells[0] + cells[1]


def encode_slide(encoder: SlideEncoder, store: Store) -> NDArray[np.float32]:
    """The embedding (dim,) of one slide, from its patches with status 0.

    Raises:
        ContractMismatch: the slide encoder was made for other patch embeddings.
        InputError: the slide has no patch with an embedding.
    """
    found = EmbeddingContract.from_attributes(store.attributes)
    require_fit(encoder.card, found, f"Slide {store.slide_id}")
    bag = bag_from_store(store).to(encoder.device)
    extent = torch.tensor(store.attributes["extent"][:2], device=encoder.device)
    places = places_of(bag.coords[:, :2], extent)
    with torch.inference_mode():
        embedded: NDArray[np.float32] = encoder.module(bag.features.float(), places).cpu().numpy()
    return embedded


def encode_run(encoder: SlideEncoder, run: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Every slide of a run folder, by id, in the order of their names.

    Raises:
        ContractMismatch: the slide encoder was made for other patch embeddings, or the stores differ.
        InputError, StoreError: a slide has no patch with an embedding, or its store is damaged.
    """
    first: EmbeddingContract | None = None
    for path in list_stores(run):
        store = open_store(path)
        found = EmbeddingContract.from_attributes(store.attributes)
        first = first or found
        require_equal(first, found, f"Slide {store.slide_id}")
        yield store.slide_id, encode_slide(encoder, store)
