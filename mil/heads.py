"""What a head is, and which ones there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..errors import UsageError
from .bags import Bags
from .spec import TrainSpec
from .standardise import Standardiser


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """What every head says of B bags with N patches in all.

    Attributes:
        logits: (B, C).
        attention: (N, 1) or (N, C), not negative; each bag's column sums to 1.
    """

    logits: torch.Tensor
    attention: torch.Tensor


class Head(nn.Module, ABC):
    """A network from bags to classes that carries the standardisation of its embeddings.

    Args:
        dim: length of an embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.standardise = Standardiser(dim)

    @abstractmethod
    def forward(self, bags: Bags) -> HeadOutput:
        """Logits and attention of the bags; a bag's result does not depend on its neighbours."""


def build_abmil(spec: TrainSpec, dim: int, classes: int) -> Head:
    from .abmil import Abmil

    return Abmil(spec, dim, classes)


BUILDERS: dict[str, Callable[[TrainSpec, int, int], Head]] = {"abmil": build_abmil}


def head_names() -> list[str]:
    """Names that `TrainSpec.head` accepts."""
    return list(BUILDERS)


def build_head(spec: TrainSpec, dim: int, classes: int) -> Head:
    """A head with fresh weights for embeddings of length `dim`.

    Raises:
        UsageError: no such head; the known ones are named.
    """
    if spec.head not in BUILDERS:
        raise UsageError(f"There is no head {spec.head!r}.", f"Known heads: {', '.join(BUILDERS)}.")
    return BUILDERS[spec.head](spec, dim, classes)
