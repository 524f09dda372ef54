"""How like the training slides a slide is: grades of a slide unlike all of them are guesses.

A slide is summarised by the mean and the standard deviation of its embeddings. Its distance to the training
slides is that to the k-th nearest of them (Sun et al., 2022, https://arxiv.org/abs/2204.06507), each number
standardised over those slides. The share of training slides that are at least as far from the others is a
conformal p-value (Bates et al., 2023, https://arxiv.org/abs/2104.08279): about a share e of new slides like
the old ones has one of at most e. A training slide is measured against slides of other folds only, so that
its own patient does not make it look familiar; k is less there, in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from .standardise import Moments

NEIGHBOURS = 5
NEVER_HELD_OUT = (-1,)
"""The fold of bags that were in none."""

MOST = 1000
"""Training bags that are kept, chosen evenly: 1,000 of 1,536 columns are 12 MB."""


@dataclass(frozen=True, eq=False)
class TrainingBags:
    """What a head folder keeps of R training bags.

    Attributes:
        summaries: (R, 2 D) float32, mean and standard deviation of the embeddings.
        folds: (R,) int64, the first head that held each bag out, -1 where none did.
        own: (R,) float64, the distance of each to the bags of other folds.
    """

    summaries: NDArray[np.float32]
    folds: NDArray[np.int64]
    own: NDArray[np.float64]

    @staticmethod
    def of(moments: Sequence[Moments], folds: NDArray[np.int64]) -> TrainingBags:
        """The bags of a training run, at most `MOST` of them."""
        chosen = np.unique(np.linspace(0, len(moments) - 1, min(len(moments), MOST)).astype(np.int64))
        summaries = np.stack([_summary(moments[i]) for i in chosen])
        rows, folds = summaries / _scale(summaries), folds[chosen]
        own = np.empty(len(rows))
        for fold in np.unique(folds):
            inside = folds == fold
            own[inside] = _distances(rows[inside], rows[~inside], len(rows))
        return TrainingBags(summaries, folds, own)

    def familiarity(self, moments: Moments, folds: Sequence[int] = ()) -> float:
        """The p-value of a slide, above 0 and at most 1: small where hardly a training slide is as unusual.

        Args:
            moments: of its embeddings.
            folds: that held it out, where it is a training slide.
        """
        others = self._rows[~np.isin(self.folds, folds)]
        distance = _distances(_summary(moments)[None] / _scale(self.summaries), others, len(self._rows))[0]
        # The tables are float32: a training slide must not be farther than itself by rounding.
        as_far = self.own >= distance * (1 - 1e-6)
        return float((1 + as_far.sum()) / (len(self.own) + 1))

    def tensors(self) -> dict[str, torch.Tensor]:
        """For safetensors."""
        arrays = {"summaries": self.summaries, "folds": self.folds, "own": self.own}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    @staticmethod
    def from_tensors(tensors: dict[str, torch.Tensor]) -> TrainingBags:
        """The inverse of `tensors`."""
        return TrainingBags(**{name: tensor.numpy() for name, tensor in tensors.items()})

    @cached_property
    def _rows(self) -> NDArray[np.floating]:
        return self.summaries / _scale(self.summaries)


def _distances(rows: NDArray[np.floating], others: NDArray[np.floating], known: int) -> NDArray[np.float64]:
    """(S,) root mean square over columns, to the k-th nearest of the others, which are part of `known`."""
    nearest = np.sort(cdist(rows, others, "sqeuclidean"), axis=1)
    k = max(1, round(NEIGHBOURS * len(others) / known))
    return np.asarray(np.sqrt(nearest[:, min(k, len(others)) - 1] / rows.shape[1]))


def _scale(summaries: NDArray[np.float32]) -> NDArray[np.floating]:
    """(2 D,) spread of each column; a column that never varied says nothing of how far two slides are."""
    spread = summaries.std(0)
    return np.where(spread > 1e-6 * np.abs(summaries).max(initial=0), spread, np.inf)


def _summary(moments: Moments) -> NDArray[np.float32]:
    return torch.cat([moments.mean, moments.variance.sqrt()]).float().numpy()
