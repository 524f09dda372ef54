"""What a head says of a slide: a probability per class, its spread over folds, and where it looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, StoreError
from ..features.layout import AnyPath, list_stores
from ..features.store import Store, open_store
from .artifact import TrainedHead, load_head
from .bags import Bags, bag_from_store
from .calibration import temper
from .contract import EmbeddingContract, require_equal
from .decision import decide
from .heads import Head
from .tasks import attention_column

Failed = Callable[[Path, InputError | StoreError], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The ensemble's view of one slide.

    Attributes:
        slide: its slide_id.
        classes: names, in the order of the probabilities.
        fold_probabilities: (K, C) of each head that was used, calibrated.
        folds: (K,) the numbers of those heads.
        attention: (N,) float32, the weights of the predicted class, aligned with the store's rows,
            NaN where a patch has no embedding; the others sum to 1. Mean over the heads.
        ordered: whether classes are grades in order.
        held_out: whether those heads are the ones that held this slide out of training.
    """

    slide: str
    classes: tuple[str, ...]
    fold_probabilities: NDArray[np.float64]
    folds: tuple[int, ...]
    attention: NDArray[np.float32]
    ordered: bool = False
    held_out: bool = False

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


def predict_store(head: TrainedHead, store: Store, out_of_fold: bool = False) -> Prediction:
    """Predict one slide.

    Args:
        head: from `load_head`.
        store: the slide's embeddings.
        out_of_fold: ask only the heads that neither trained on nor were stopped by this slide. A slide
            that is not among the training slides, by content or by name, is shown to all heads.

    Raises:
        ContractMismatch: the store holds other embeddings; the fields that differ are named.
        InputError: the slide has no patch with an embedding, or no head held it out.
    """
    found = EmbeddingContract.from_attributes(store.attributes)
    require_equal(head.contract, found, f"Slide {store.slide_id}")
    held_out = _held_out_by(head, store) if out_of_fold else ()
    folds = held_out or tuple(range(len(head.heads)))
    raw, attention = _ask([head.heads[fold] for fold in folds], bag_from_store(store))
    probabilities = temper(raw, head.temperatures(folds, bool(held_out)))
    good = store.status() == 0
    aligned = np.full(len(good), np.nan, dtype=np.float32)
    graded = int(decide(probabilities.mean(0)[None], head.spec.ordered)[0])
    column = attention_column(graded, probabilities.shape[1], attention.shape[1])
    aligned[good] = attention[:, column]
    return Prediction(
        store.slide_id, head.classes, probabilities, folds, aligned, head.spec.ordered, bool(held_out)
    )


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


def _held_out_by(head: TrainedHead, store: Store) -> tuple[int, ...]:
    """The heads that held a training slide out; nothing of another slide."""
    folds = head.folds_of(store.slide_id, str(store.attributes["source"]["identity"]))
    if folds == ():
        raise InputError(
            f"Slide {store.slide_id} was held out by no head: the given splits never test it.",
            "Predict without --out-of-fold; its heads may have learned from it.",
        )
    return folds or ()


@torch.inference_mode()
def _ask(heads: Sequence[Head], bag: Bags) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Probabilities (K, C) of each head, not calibrated, and attention (N, columns) averaged over them."""
    outputs = [head(bag) for head in heads]
    pairs = zip(heads, outputs, strict=True)
    raw = torch.stack([head.task.probabilities(output.logits)[0] for head, output in pairs])
    attention = torch.stack([output.attention for output in outputs]).mean(0)
    return raw.numpy(), attention.numpy()
