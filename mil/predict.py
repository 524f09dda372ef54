"""What a head says of a slide: a probability per class, its spread over folds, and where it looked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, StoreError, UsageError
from ..features.layout import AnyPath, list_stores
from ..features.store import Store, open_store
from .artifact import TrainedHead, load_head
from .bags import Bags, bag_from_store
from .calibration import temper
from .contract import EmbeddingContract, require_equal
from .decision import decide
from .standardise import Moments
from .tasks import attention_column

Failed = Callable[[Path, InputError | StoreError], None]


class Ensemble(ABC):
    """What the heads of several folds say together."""

    classes: tuple[str, ...]
    fold_probabilities: NDArray[np.float64]
    folds: tuple[int, ...]
    ordered: bool
    familiarity: float | None
    seen: bool

    @property
    @abstractmethod
    def subject(self) -> dict[str, str]:
        """What was graded, as columns of a table."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(C,) mean over the heads."""
        return np.asarray(self.fold_probabilities.mean(0))

    @property
    def spread(self) -> NDArray[np.float64]:
        """(C,) standard deviation over the heads; 0 where only one was used."""
        return np.asarray(self.fold_probabilities.std(0))

    @property
    def predicted(self) -> str:
        """The class of greatest probability, or the median grade."""
        return self.classes[int(decide(self.probabilities[None], self.ordered)[0])]


@dataclass(frozen=True, eq=False)
class Prediction(Ensemble):
    """The ensemble's view of one slide.

    Attributes:
        slide: its slide_id.
        classes: names, in the order of the probabilities.
        fold_probabilities: (K, C) of each head that was used, calibrated.
        folds: (K,) the numbers of those heads.
        attention: (N,) float32, the weights of the predicted class, aligned with the store's rows,
            NaN where a patch has no embedding; the others sum to 1. Mean over the heads.
        ordered: whether classes are grades in order.
        familiarity: p-value of the slide being like the training slides; None where the head folder is
            older than that.
        seen: whether a head that was asked had trained on this slide or was stopped by it.
    """

    slide: str
    classes: tuple[str, ...]
    fold_probabilities: NDArray[np.float64]
    folds: tuple[int, ...]
    attention: NDArray[np.float32]
    ordered: bool = False
    familiarity: float | None = None
    seen: bool = False

    @property
    def subject(self) -> dict[str, str]:
        return {"slide": self.slide}


def predict_store(head: TrainedHead, store: Store, out_of_fold: bool = False) -> Prediction:
    """Predict one slide.

    Args:
        head: from `load_head`.
        store: the slide's embeddings.
        out_of_fold: ask only the head that neither trained on nor was stopped by this slide. A slide
            that is not among the training slides, by content or by name, is shown to all heads.

    Raises:
        ContractMismatch: the store holds other embeddings; the fields that differ are named.
        InputError: the slide has no patch with an embedding.
    """
    return predict_with(head, asked_for(head, [store], out_of_fold), store)


@dataclass(frozen=True)
class Asked:
    """Which heads are asked.

    Attributes:
        folds: their numbers.
        held_out_by: the folds that held the slides out; empty where none was trained on.
    """

    folds: tuple[int, ...]
    held_out_by: frozenset[int]

    @property
    def seen(self) -> bool:
        """Whether any of them trained on the slides or was stopped by them."""
        return any(asked != fold for asked in self.folds for fold in self.held_out_by)


def asked_for(head: TrainedHead, stores: Sequence[Store], out_of_fold: bool) -> Asked:
    """The heads to ask about slides of one patient: all, or the one that held them out.

    Raises:
        UsageError: the slides were held out by different folds, so no head is new to all of them.
    """
    folds = frozenset(fold for fold in (_held_out_by(head, store) for store in stores) if fold is not None)
    if not out_of_fold or not folds:
        return Asked(tuple(range(len(head.heads))), folds)
    if len(folds) > 1:
        names = ", ".join(store.slide_id for store in stores)
        raise UsageError(
            f"The head was trained on {names} as slides of different patients.", "Grade them one by one."
        )
    return Asked(tuple(folds), folds)


def predict_with(head: TrainedHead, asked: Asked, store: Store) -> Prediction:
    """Predict one slide by the heads that are asked; raises as `predict_store`."""
    require_understood(head, store)
    bag = bag_from_store(store)
    probabilities, attention = ask(head, asked.folds, bag)
    graded = int(decide(probabilities.mean(0)[None], head.spec.ordered)[0])
    column = attention_column(graded, probabilities.shape[1], attention.shape[1])
    return Prediction(
        slide=store.slide_id,
        classes=head.classes,
        fold_probabilities=probabilities,
        folds=asked.folds,
        attention=_aligned(attention[:, column], store.status()),
        ordered=head.spec.ordered,
        familiarity=familiarity(head, asked, bag),
        seen=asked.seen,
    )


def require_understood(head: TrainedHead, store: Store) -> None:
    """Refuse embeddings that the head was not trained on, with ContractMismatch."""
    found = EmbeddingContract.from_attributes(store.attributes)
    require_equal(head.contract, found, f"Slide {store.slide_id}")


def familiarity(head: TrainedHead, asked: Asked, bag: Bags) -> float | None:
    """How like the training slides a single bag is."""
    return head.known.familiarity(Moments.of_bag(bag), tuple(asked.held_out_by)) if head.known else None


def predict_run(
    head_dir: AnyPath, run_dir: AnyPath, out_of_fold: bool = False, failed: Failed | None = None
) -> Iterator[Prediction]:
    """Predict every slide of a run folder, in the order of their names.

    Args:
        head_dir: head folder.
        run_dir: run folder.
        out_of_fold: as for `predict_store`.
        failed: told of a slide that cannot be predicted, and the others go on; None raises instead.

    Raises:
        ContractMismatch: always raised; such a run folder is the wrong one.
        InputError, StoreError: a slide failed and `failed` is None.
    """
    head = load_head(Path(head_dir))
    for path in list_stores(Path(run_dir)):
        try:
            prediction = predict_store(head, open_store(path), out_of_fold)
        except (InputError, StoreError) as error:
            if failed is None:
                raise
            failed(path, error)
        else:
            yield prediction


def _aligned(attention: NDArray[np.float32], status: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N,) of every row of the store, from that of the patches with an embedding."""
    rows = np.full(len(status), np.nan, dtype=np.float32)
    rows[status == 0] = attention
    return rows


def _held_out_by(head: TrainedHead, store: Store) -> int | None:
    """The fold that held a slide out, known by its content or its name; None where it was not trained on."""
    identity = str(store.attributes["source"]["identity"])
    return head.fold_of_identity.get(identity, head.fold_of_slide.get(store.slide_id))


@torch.inference_mode()
def ask(
    head: TrainedHead, folds: tuple[int, ...], bag: Bags
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Probabilities (K, C) of each head, and attention (N, columns) averaged over them."""
    outputs = [head.heads[fold](bag) for fold in folds]
    asked = zip(folds, outputs, strict=True)
    raw = torch.stack([head.heads[k].task.probabilities(o.logits)[0] for k, o in asked])
    probabilities = temper(raw.numpy(), head.temperature(folds))
    attention = torch.stack([output.attention for output in outputs]).mean(0)
    return probabilities, attention.numpy()
