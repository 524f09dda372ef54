"""What a head says of a slide: an answer to each target, its spread over folds, and where it looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, StoreError, UsageError
from ..features.layout import AnyPath, list_stores
from ..features.store import Store, open_store
from .artifact import TrainedHead, load_head
from .bags import Bags
from .contract import EmbeddingContract, require_equal
from .ensemble import Answer, Ensemble
from .familiarity import NEVER_HELD_OUT
from .graded import read_rows
from .standardise import Moments

Failed = Callable[[Path, InputError | StoreError], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction(Ensemble):
    """The ensemble's view of one slide.

    Attributes:
        slide: its slide_id.
        attention: (N,) float32, the weights of what is `shown` of the first answer, as the predicted class,
            aligned with the store's rows, NaN where a patch has no embedding; the others sum to 1. Mean
            over the heads.
    """

    slide: str
    attention: NDArray[np.float32]

    @property
    def subject(self) -> dict[str, str]:
        return {"slide": self.slide}


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
    return predict_with(head, asked_for(head, [store], out_of_fold), store)


@dataclass(frozen=True)
class Asked:
    """Which heads are asked.

    Attributes:
        folds: their numbers.
        held_out_by: the heads that held training slides out, maybe none; None of slides that are no such.
    """

    folds: tuple[int, ...]
    held_out_by: tuple[int, ...] | None

    @property
    def seen(self) -> bool:
        """Whether any of them trained on the slides or was stopped by them."""
        return self.held_out_by is not None and not set(self.folds) <= set(self.held_out_by)

    @property
    def held_out(self) -> bool:
        """Whether the slides are training slides that all of them held out."""
        return self.held_out_by is not None and not self.seen


def asked_for(head: TrainedHead, stores: Sequence[Store], out_of_fold: bool) -> Asked:
    """The heads to ask about slides of one patient: all, or those that held them out.

    Raises:
        UsageError: the slides were held out by different heads, so none is new to all of them.
        InputError: they were held out by no head.
    """
    every, found = tuple(range(len(head.heads))), [_held_out_by(head, store) for store in stores]
    known = [folds for folds in found if folds is not None]
    if not known:
        return Asked(every, None)
    if not out_of_fold:
        return Asked(every, tuple(k for k in every if all(k in folds for folds in known)))
    names = ", ".join(store.slide_id for store in stores)
    if len(set(known)) > 1:
        raise UsageError(
            f"The head was trained on {names} as slides of different patients.", "Grade them one by one."
        )
    if not known[0]:
        raise InputError(
            f"Slide {names} was held out by no head: the given splits never test it.",
            "Predict without --out-of-fold; its heads may have learned from it.",
        )
    return Asked(known[0], known[0])


def predict_with(head: TrainedHead, asked: Asked, store: Store) -> Prediction:
    """Predict one slide by the heads that are asked; raises as `predict_store`."""
    require_understood(head, store)
    bag = head.bag_of([store])
    answers, attention = ask(head, asked, bag)
    return Prediction(
        slide=store.slide_id,
        answers=answers,
        folds=asked.folds,
        attention=_aligned(answers[0].attention(head.heads[0].task, attention), store.status()),
        familiarity=familiarity(head, asked, bag),
        seen=asked.seen,
        held_out=asked.held_out,
    )


def told_of(head: TrainedHead, covariates: AnyPath | None) -> TrainedHead:
    """The head with the covariates of slides, from a CSV with the column slide."""
    return head if covariates is None else replace(head, told=read_rows(Path(covariates)))


def require_understood(head: TrainedHead, store: Store) -> None:
    """Refuse embeddings that the head was not trained on, with ContractMismatch."""
    found = EmbeddingContract.from_attributes(store.attributes)
    require_equal(head.contract, found, f"Slide {store.slide_id}")


def familiarity(head: TrainedHead, asked: Asked, bag: Bags) -> float | None:
    """How like the training slides a single bag is."""
    if head.known is None:
        return None
    own = () if asked.held_out_by is None else asked.held_out_by or NEVER_HELD_OUT
    return head.known.familiarity(Moments.of_bag(bag), own)


def predict_run(
    head_dir: AnyPath,
    run_dir: AnyPath,
    out_of_fold: bool = False,
    failed: Failed | None = None,
    covariates: AnyPath | None = None,
) -> Iterator[Prediction]:
    """Predict every slide of a run folder, in the order of their names.

    Args:
        head_dir: head folder.
        run_dir: run folder.
        out_of_fold: as for `predict_store`.
        failed: told of a slide that cannot be predicted, and the others go on; None raises instead.
        covariates: a CSV with the column slide and those that the head takes besides.

    Raises:
        ContractMismatch: always raised; such a run folder is the wrong one.
        InputError, StoreError: a slide failed and `failed` is None.
    """
    head = told_of(load_head(Path(head_dir)), covariates)
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


def _held_out_by(head: TrainedHead, store: Store) -> tuple[int, ...] | None:
    """The heads that held a slide out, known by its content or its name; None where it was not trained on."""
    return head.folds_of(store.slide_id, str(store.attributes["source"]["identity"]))


@torch.inference_mode()
def ask(head: TrainedHead, asked: Asked, bag: Bags) -> tuple[tuple[Answer, ...], NDArray[np.float32]]:
    """The answers to every target, calibrated, and attention (N, columns) averaged over the heads."""
    heads = [head.heads[fold] for fold in asked.folds]
    outputs = [one(bag) for one in heads]
    each = [one.task.answers(output.logits) for one, output in zip(heads, outputs, strict=True)]
    raw = [torch.cat(of_target).numpy() for of_target in zip(*each, strict=True)]
    answers = tuple(
        Answer(kept.outcome, kept.calibrated(said, asked.folds, asked.held_out))
        for kept, said in zip(head.kept, raw, strict=True)
    )
    attention = torch.stack([output.attention for output in outputs]).mean(0)
    return answers, attention.numpy()
