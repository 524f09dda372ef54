"""Embeddings with zero mean and unit variance, as seen on the training slides only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .bags import Bags

WIDENED = 1 << 20
"""Numbers that are widened at a time. A whole bag in float64 would be four times the memory of float16; and
4 MB stay in a processor's cache, and with the allocator, which gives larger pieces back to the system."""


def rows_at_once(dim: int) -> int:
    """How many rows of a bag to widen at a time."""
    return max(1, WIDENED // dim)


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance per embedding dimension, float64 (D,) each."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __reduce__(self) -> tuple[Any, ...]:
        # As arrays: a tensor would reach another process as memory that this one has to keep.
        return _from_arrays, (self.mean.numpy(), self.variance.numpy())

    @staticmethod
    def of_bag(bag: Bags) -> Moments:
        """The moments of one bag."""
        dim = bag.features.shape[1]
        blocks, rows = torch.split(bag.features, rows_at_once(dim)), len(bag.features)
        # Sums are added to where they are: one kept per block would lie in the memory that the widened block
        # before it has left, so that the next block takes new memory, to twice that of a large bag.
        total, squares = torch.zeros(2, dim, dtype=torch.float64)
        for block in blocks:
            total += block.sum(0, dtype=torch.float64)
        mean = total / rows
        # Around the mean, in a second pass: squares of raw values would cancel.
        for block in blocks:
            squares += (block - mean).square_().sum(0)
        return Moments(mean, squares / rows)

    @staticmethod
    def together(bags: Sequence[Moments]) -> Moments:
        """The moments of several bags, each counting the same, however many patches it has."""
        means = torch.stack([m.mean for m in bags])
        within = torch.stack([m.variance for m in bags]).mean(0)
        return Moments(means.mean(0), within + means.var(0, correction=0))


def _from_arrays(mean: NDArray[np.float64], variance: NDArray[np.float64]) -> Moments:
    return Moments(torch.from_numpy(mean), torch.from_numpy(variance))


class Standardiser(nn.Module):
    """(N, D) of any floating type -> float32 (N, D); the identity until `fit`."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, moments: Moments) -> None:
        """Adopt the moments; a dimension that never varies is only centred."""
        std = moments.variance.sqrt()
        constant = std <= 1e-6 * moments.mean.abs().clamp(min=1e-6)
        self.mean.copy_(moments.mean)
        self.std.copy_(torch.where(constant, 1.0, std))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features.float() - self.mean).div_(self.std)
