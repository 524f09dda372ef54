"""One grade per patient, of all the patient's slides.

A head that was trained on patients sees the slides as one bag, as in training. One that was trained on slides
grades each, and the patient's probabilities are their mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, StoreError, UsageError
from ..features.layout import AnyPath, list_stores, slide_id_of
from ..features.store import Store, open_store
from .artifact import TrainedHead, load_head
from .ensemble import Answer, Ensemble
from .patients import JOIN
from .predict import Asked, ask, asked_for, familiarity, predict_with, require_understood, told_of

PatientFailed = Callable[[str, InputError | StoreError], None]
Said = tuple[tuple[Answer, ...], float | None]
"""The answers, and the familiarity."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PatientPrediction(Ensemble):
    """The ensemble's view of one patient; familiarity is that of the least familiar slide where slides were
    graded one by one.

    Attributes:
        patient: as the table of patients names them.
        slides: slide_ids that were graded together.
    """

    patient: str
    slides: tuple[str, ...]

    @property
    def subject(self) -> dict[str, str]:
        return {"patient": self.patient, "slides": JOIN.join(self.slides)}


@dataclass(frozen=True)
class Patients:
    """Which slides are whose.

    Attributes:
        of_slide: the patient of each slide_id.
        out_of_fold: ask only the head that never saw a training patient, as for `predict_store`.
        covariates: a CSV with the column slide and those that the head takes besides.
    """

    of_slide: Mapping[str, str]
    out_of_fold: bool = False
    covariates: AnyPath | None = None

    def slides(self) -> dict[str, list[str]]:
        """The slide_ids of each patient, both sorted."""
        found: dict[str, list[str]] = defaultdict(list)
        for slide, patient in sorted(self.of_slide.items()):
            found[patient].append(slide)
        return dict(sorted(found.items()))


def predict_patients(
    head_dir: AnyPath, run_dir: AnyPath, patients: Patients, failed: PatientFailed | None = None
) -> Iterator[PatientPrediction]:
    """Predict every patient, in the order of their names. Slides of nobody are left out.

    A patient one of whose slides has no embeddings is not graded from the others: fewer slides are another
    question, and whoever asks it takes that slide out of the table.

    Args:
        head_dir: head folder.
        run_dir: run folder.
        patients: whose slides there are.
        failed: told of a patient that cannot be predicted, and the others go on; None raises instead.

    Raises:
        ContractMismatch: always raised; such a run folder is the wrong one.
        UsageError: no slide of the table is in the run folder.
        InputError, StoreError: a patient failed and `failed` is None.
    """
    head = told_of(load_head(Path(head_dir)), patients.covariates)
    there = {slide_id_of(path): path for path in list_stores(Path(run_dir))}
    if not there.keys() & patients.of_slide.keys():
        raise UsageError(
            f"No slide of the table is in {run_dir}.", "Its column slide must hold slide_ids of the run."
        )
    for patient, slides in patients.slides().items():
        try:
            stores = [open_store(_known(there, slide, patient)) for slide in slides]
            yield _predict(head, patient, stores, patients.out_of_fold)
        except (InputError, StoreError) as error:
            if failed is None:
                raise
            failed(patient, error)


def _known(there: Mapping[str, Path], slide: str, patient: str) -> Path:
    if slide not in there:
        raise InputError(
            f"Slide {slide} of patient {patient} has no embeddings in the run folder.",
            "Run it, or take its line out of the table to grade the patient without it.",
        )
    return there[slide]


def _predict(head: TrainedHead, patient: str, stores: list[Store], out_of_fold: bool) -> PatientPrediction:
    asked = asked_for(head, stores, out_of_fold)
    judge = _pooled if head.spec.bag == "patient" else _averaged
    answers, familiar = judge(head, asked, stores)
    return PatientPrediction(
        patient=patient,
        slides=tuple(store.slide_id for store in stores),
        answers=answers,
        folds=asked.folds,
        familiarity=familiar,
        seen=asked.seen,
        held_out=asked.held_out,
    )


def _pooled(head: TrainedHead, asked: Asked, stores: list[Store]) -> Said:
    for store in stores:
        require_understood(head, store)
    bag = head.bag_of(stores)
    return ask(head, asked, bag)[0], familiarity(head, asked, bag)


def _averaged(head: TrainedHead, asked: Asked, stores: list[Store]) -> Said:
    each = [predict_with(head, asked, store) for store in stores]
    least = min((p.familiarity for p in each if p.familiarity is not None), default=None)
    of_targets = zip(*(p.answers for p in each), strict=True)
    return tuple(_mean(answers) for answers in of_targets), least


def _mean(answers: tuple[Answer, ...]) -> Answer:
    """Of several slides, head by head."""
    return Answer(answers[0].outcome, np.mean([answer.each for answer in answers], axis=0))
