"""What each patch has to do with the class a slide was given, and how far that can be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from ..features.store import Store
from .artifact import TrainedHead
from .bags import Bags
from .calibration import temper
from .evidence import evidence
from .flipping import Flipping, flip
from .gradients import integrated_gradients
from .heads import Head
from .predict import Prediction
from .subsets import Subsets, of_each_alone, subsets_of

Explain = Callable[[Head, Bags, int], torch.Tensor]
"""Relevance (N,) of the patches of a single bag for a class, by one head."""


@torch.inference_mode()
def left_out(head: Head, bag: Bags, label: int) -> torch.Tensor:
    """(N,) float64 evidence that is lost without a patch: exact, not estimated; 0 of a bag of one.

    "One removed" of Early, Evers and Ramchurn, 2022, https://arxiv.org/abs/2201.11701.

    Raises:
        LimitExceeded: the head has no closed form and the bag is large.
    """
    if len(bag.features) == 1:
        return torch.zeros(1, dtype=torch.float64)
    parts = subsets_of(head, bag)
    whole = parts.only(torch.arange(len(bag.features)))
    return evidence(head.task, whole, label) - evidence(head.task, parts.without_each(), label)


@torch.inference_mode()
def alone(head: Head, bag: Bags, label: int) -> torch.Tensor:
    """(N,) float64 evidence of the bag that is one patch alone: "single" of the same paper."""
    return evidence(head.task, of_each_alone(head, bag), label)


EXPLAINERS: dict[str, Explain] = {
    "perturbation": left_out,
    "single": alone,
    "gradients": integrated_gradients,
}


def method_names() -> list[str]:
    """What `explain` accepts."""
    return ["attention", *EXPLAINERS]


@dataclass(frozen=True, eq=False)
class Explanation:
    """A prediction with the relevance of each patch for the predicted class.

    Attributes:
        prediction: what is explained.
        method: "attention" or a name of `EXPLAINERS`.
        relevance: (N,) float32, aligned with the store's rows, NaN where a patch has no embedding; mean
            over the heads that were asked. Attention is not negative and sums to 1; the others are in
            log-odds, and negative where a patch speaks against the class.
        flipping: how faithful it is; None where that was not asked.
    """

    prediction: Prediction
    method: str
    relevance: NDArray[np.float32]
    flipping: Flipping | None

    @staticmethod
    def of_attention(prediction: Prediction) -> Explanation:
        """The attention that a prediction brings along, not tested."""
        return Explanation(prediction, "attention", prediction.attention, None)


def explain(
    head: TrainedHead, store: Store, prediction: Prediction, method: str = "attention"
) -> Explanation:
    """Explain the class that a slide was given, and test the explanation by patch flipping.

    Args:
        head: the head that predicted.
        store: the slide's embeddings.
        prediction: by `predict_store`; the same heads are asked.
        method: one of `method_names()`.

    Raises:
        UsageError: no such method; the known ones are named.
        LimitExceeded: as `left_out`.
    """
    require_method(method)
    label = prediction.classes.index(prediction.predicted)
    heads, bag = [head.heads[k] for k in prediction.folds], head.bag_of([store])
    known = store.status() == 0
    relevance = prediction.attention.astype(np.float64)
    if method != "attention":
        each = [EXPLAINERS[method](one, bag, label) for one in heads]
        relevance = np.full(len(known), np.nan)
        relevance[known] = torch.stack(each).mean(0).numpy()
    ensemble = _Ensemble(heads, bag, head.temperatures(prediction.folds, prediction.held_out))
    flipping = flip(relevance[known], lambda rows: ensemble.probabilities(rows)[label])
    return Explanation(prediction, method, relevance.astype(np.float32), flipping)


def require_method(method: str) -> None:
    """Refuse a name that is no method.

    Raises:
        UsageError: the known ones are named.
    """
    if method not in method_names():
        raise UsageError(
            f"There is no explanation {method!r}.", f"Known explanations: {', '.join(method_names())}."
        )


class _Ensemble:
    """The heads' calibrated mean, as a prediction has it, of parts of one bag."""

    def __init__(self, heads: list[Head], bag: Bags, temperatures: NDArray[np.float64]) -> None:
        self._heads, self._temperatures = heads, temperatures
        with torch.inference_mode():
            self._parts: list[Subsets] = [subsets_of(head, bag) for head in heads]

    @torch.inference_mode()
    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(C,) of the bag that has these rows only."""
        kept = torch.from_numpy(rows)
        pairs = zip(self._heads, self._parts, strict=True)
        raw = torch.cat([head.task.probabilities(parts.only(kept)) for head, parts in pairs])
        return np.asarray(temper(raw.numpy(), self._temperatures).mean(0))
