"""All embeddings of several slides, ragged: one bag after the other, no padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..features.store import Store

MOVED = 4096
"""Rows that are moved at a time."""


@dataclass(frozen=True, eq=False)
class Bags:
    """B bags with N patches in all.

    Attributes:
        features: (N, D) floating, bag after bag.
        offsets: (B + 1,) int64; bag b owns the rows `offsets[b]` up to `offsets[b + 1]`.
        coords: (N, 2 or 3) int32, level-0 px, (x, y[, z]), top-left corner of each patch.
        covariates: (B, K) float32, what else is known of each bag, NaN where it is not; or None.

    Raises:
        ValueError: the first three do not fit together, or a bag is empty.
    """

    features: torch.Tensor
    offsets: torch.Tensor
    coords: torch.Tensor
    covariates: torch.Tensor | None = None

    def __post_init__(self) -> None:
        rows = len(self.features)
        if self.features.ndim != 2 or len(self.coords) != rows or self.offsets.ndim != 1:
            shapes = [tuple(t.shape) for t in (self.features, self.offsets, self.coords)]
            raise ValueError(f"features, offsets and coords of shapes {shapes} do not fit together")
        if len(self.offsets) < 2 or int(self.offsets[0]) != 0 or int(self.offsets[-1]) != rows:
            raise ValueError(f"offsets must run from 0 to {rows}")
        if bool((self.counts < 1).any()):
            raise ValueError("a bag is empty")
        if self.covariates is not None and len(self.covariates) != len(self):
            raise ValueError(f"covariates of {len(self.covariates)} bags are given for {len(self)}")

    @staticmethod
    def of(bags: Sequence[Bags]) -> Bags:
        """Several `Bags` as one, in the given order."""
        if len(bags) == 1:
            return bags[0]
        counts = torch.cat([b.counts for b in bags])
        known = [b.covariates for b in bags if b.covariates is not None]
        return Bags(
            features=torch.cat([b.features for b in bags]),
            offsets=torch.nn.functional.pad(counts.cumsum(0), (1, 0)),
            coords=torch.cat([b.coords for b in bags]),
            covariates=torch.cat(known) if known else None,
        )

    @staticmethod
    def single(features: torch.Tensor, coords: torch.Tensor) -> Bags:
        """One bag of features (N, D) and coords (N, 2 or 3)."""
        return Bags(features, torch.tensor([0, len(features)]), coords)

    def __len__(self) -> int:
        """The number of bags B."""
        return len(self.offsets) - 1

    def __getitem__(self, bag: int) -> Bags:
        """Bag number `bag`, alone."""
        if not 0 <= bag < len(self):
            raise IndexError(f"bag {bag} of {len(self)}")
        rows = slice(int(self.offsets[bag]), int(self.offsets[bag + 1]))
        offsets = self.offsets[bag : bag + 2] - self.offsets[bag]
        own = None if self.covariates is None else self.covariates[bag : bag + 1]
        return Bags(self.features[rows], offsets, self.coords[rows], own)

    def parts(self, rows: torch.Tensor, offsets: torch.Tensor) -> Bags:
        """Bags made of rows (M,) of this single bag, with its covariates; `offsets` as of any bags."""
        known = None if self.covariates is None else self.covariates.expand(len(offsets) - 1, -1)
        return Bags(self.features[rows], offsets, self.coords[rows], known)

    @property
    def counts(self) -> torch.Tensor:
        """(B,) int64, patches per bag."""
        return self.offsets.diff()

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take, in bytes."""
        return sum(t.numel() * t.element_size() for t in (self.features, self.offsets, self.coords))

    def select(self, bags: Sequence[int]) -> Bags:
        """The named bags, in the given order."""
        return Bags.of([self[bag] for bag in bags])

    def sample(self, most: int, draw: torch.Generator | None = None) -> Bags:
        """Each bag cut down to at most `most` patches, drawn without replacement, in their old order."""
        if int(self.counts.max()) <= most:
            return self
        return Bags.of([_sampled(self[bag], most, draw) for bag in range(len(self))])

    def to(self, device: torch.device | str) -> Bags:
        """The same bags on another device."""
        known = None if self.covariates is None else self.covariates.to(device)
        return Bags(self.features.to(device), self.offsets.to(device), self.coords.to(device), known)


def bag_from_store(store: Store) -> Bags:
    """The single bag of one slide, in the store's precision; rows with a non-zero status stay out.

    Raises:
        UsageError: the store was written by an encoder that computes no embeddings.
        InputError: no patch is left, or an embedding that should be good holds NaN or infinity.
    """
    if store.attributes["encoder"]["dim"] == 0:
        raise UsageError(
            f"Slide {store.slide_id} was run without embeddings (encoder null).", "Run it with an encoder."
        )
    good = store.status() == 0
    if not good.any():
        raise InputError(
            f"Slide {store.slide_id} has no patch with an embedding ({len(good)} patches, none readable).",
            "Leave the slide out, or run it again with another tissue threshold.",
        )
    features, coords = (
        torch.from_numpy(_only(np.asarray(rows), good)) for rows in (store.features(), store.coords())
    )
    # The least and the greatest are NaN where any value is: ten times as fast as a look at each.
    if not all(torch.isfinite(value) for value in torch.aminmax(features)):
        raise InputError(
            f"Slide {store.slide_id} has embeddings that are NaN or infinite.",
            "Run it again in float32: the encoder's values may be too large for float16.",
        )
    return Bags.single(features, coords)


def _only(rows: NDArray[Any], good: NDArray[np.bool_]) -> NDArray[Any]:
    """The good rows, moved to the front where they are: a large slide does not fit into memory twice."""
    if good.all():
        return rows
    kept = np.flatnonzero(good)
    for start in range(0, len(kept), MOVED):
        block = kept[start : start + MOVED]
        rows[start : start + len(block)] = rows[block]
    return rows[: len(kept)]


def _sampled(bag: Bags, most: int, draw: torch.Generator | None) -> Bags:
    if len(bag.features) <= most:
        return bag
    rows = torch.randperm(len(bag.features), generator=draw)[:most].sort().values
    return replace(
        bag,
        features=bag.features[rows],
        offsets=torch.tensor([0, most]),
        coords=bag.coords[rows],
    )
