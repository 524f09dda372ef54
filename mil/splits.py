"""Folds that keep a patient whole and the classes balanced, and sites whole where that is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from ..errors import UsageError
from .labels import Labels
from .plan import Chosen, Plan, Split
from .sites import even_folds
from .spec import TrainSpec


@dataclass(frozen=True)
class Aside:
    """How the part that a head stops by is drawn.

    Attributes:
        name: what is held out.
        seed: of the draw.
        share: of the patients; 0 for none of them.
        sites: of each slide, where sites are kept whole.
    """

    name: str
    seed: int
    share: float
    sites: tuple[str, ...] = ()


def plan_folds(labels: Labels, spec: TrainSpec, site_of: Mapping[str, str] | None = None) -> Plan:
    """One head per fold and repeat, as the spec asks.

    The part that a head stops by keeps sites whole too, where three or more are left to learn from.

    Args:
        labels: the slides to use.
        spec: folds, seed and how slides are held out; given splits are read by `read_given`.
        site_of: the site of each patient, where the spec keeps sites whole.

    Raises:
        UsageError: too few patients of a class or too few sites, on the whole or to learn from.
    """
    _require_classes(labels)
    sites = tuple((site_of or {})[p] for p in labels.patients) if spec.split.column else ()
    seeds = [spec.seed, *(_seed(spec.seed, repeat) for repeat in range(1, spec.split.repeats))]
    splits: list[Split] = []
    for repeat, seed in enumerate(seeds):
        fold, names = _folds(labels, sites, spec, seed)
        for number, name in enumerate(names):
            held_out = fold == number
            train, validation = learning_parts(labels, ~held_out, Aside(name, seed, spec.validation, sites))
            splits.append(Split(name, repeat, train, validation, held_out))
    return Plan(labels, tuple(splits), sites)


def learning_parts(labels: Labels, inside: Chosen, aside: Aside) -> tuple[Chosen, Chosen]:
    """Training and validation (S,) of the slides that a head may learn from.

    Args:
        labels: S slides.
        inside: (S,) those slides.
        aside: how the validation part is drawn.

    Raises:
        UsageError: a class has too few patients inside: none, or one where a part is set aside.
    """
    rows = np.flatnonzero(inside)
    part = Labels(tuple(labels.entries[i] for i in rows), labels.classes)
    validation = np.zeros(len(inside), dtype=np.bool_)
    _require_of_each(part, aside.name, 2 if aside.share else 1)
    if aside.share:
        parts, sites = round(1 / aside.share), tuple(aside.sites[i] for i in rows if aside.sites)
        chosen = _whole_sites(part, sites, parts, aside.seed) if sites else None
        validation[rows] = validation_part(part, aside.seed, parts) if chosen is None else chosen
    return inside & ~validation, validation


def assign_folds(labels: Labels, folds: int, seed: int) -> NDArray[np.int64]:
    """(slides,) the fold that holds each slide out; all slides of a patient share one.

    Deterministic: the same labels, folds and seed give the same assignment.

    Raises:
        UsageError: fewer than two classes, or fewer patients of a class than folds.
    """
    _require_classes(labels)
    patients = patients_per_class(labels)
    rarest = int(patients.argmin())
    if patients[rarest] < folds:
        raise UsageError(
            f"Class {labels.classes[rarest]} has {patients[rarest]} patients, too few for {folds} folds.",
            f"Use at most {patients[rarest]} folds or add patients."
            if patients[rarest] > 1
            else "Add patients.",
        )
    return _stratified(labels, folds, seed)


def validation_part(labels: Labels, seed: int, parts: int) -> NDArray[np.bool_]:
    """(slides,) True for about one in so many patients of a training fold, to stop training by.

    Raises:
        UsageError: a class has only one patient, who cannot be on both sides.
    """
    _require_classes(labels)
    patients = patients_per_class(labels)
    _require_of_each(labels, "the held-out slides", 2)
    part = _stratified(labels, min(parts, int(patients.min())), seed)
    # Patients with many slides can unbalance a part so far that a class is all inside it.
    chosen = _leaving_all_classes(labels, part)
    if chosen is None:
        raise UsageError(
            "A training fold cannot be split so that every class stays in training.",
            "Use another number of folds or add patients.",
        )
    return chosen


def patients_per_class(labels: Labels) -> NDArray[np.int64]:
    """(C,) how many patients have a slide of each class."""
    pairs = {(entry.label, entry.patient) for entry in labels.entries}
    return np.array([sum(label == name for label, _ in pairs) for name in labels.classes], dtype=np.int64)


def _folds(
    labels: Labels, sites: tuple[str, ...], spec: TrainSpec, seed: int
) -> tuple[NDArray[np.int64], list[str]]:
    """(S,) the fold of each slide, and the names of the folds."""
    if spec.split.leave_out:
        names, fold = np.unique(np.array(sites), return_inverse=True)
        _require_sites(len(names), 2, spec.split.column)
        return fold.astype(np.int64), names.tolist()
    numbers = [str(number + 1) for number in range(spec.folds)]
    if spec.split.keep_together:
        _require_sites(len(set(sites)), spec.folds, spec.split.column)
        return even_folds(labels, sites, spec.folds, seed), numbers
    return assign_folds(labels, spec.folds, seed), numbers


def _whole_sites(part: Labels, sites: tuple[str, ...], parts: int, seed: int) -> Chosen | None:
    """About one in so many slides as whole sites; None where too few sites are left, or a class would be."""
    count = len(set(sites))
    if count < 3:
        return None
    return _leaving_all_classes(part, even_folds(part, sites, min(parts, count), seed))


def _leaving_all_classes(labels: Labels, part: NDArray[np.int64]) -> Chosen | None:
    """The first part without which every class still occurs."""
    for number in range(part.max() + 1):
        chosen: Chosen = part == number
        if len(np.unique(labels.targets[~chosen])) == len(labels.classes):
            return chosen
    return None


def _seed(seed: int, repeat: int) -> int:
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


def _stratified(labels: Labels, parts: int, seed: int) -> NDArray[np.int64]:
    splitter = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=seed)
    fold = np.full(len(labels.entries), -1, dtype=np.int64)
    for number, (_, held_out) in enumerate(splitter.split(fold, labels.targets, labels.patients)):
        fold[held_out] = number
    return fold


def _require_classes(labels: Labels) -> None:
    if len(labels.classes) < 2:
        found = ", ".join(labels.classes) or "none"
        raise UsageError(f"A head needs at least two classes; the labels have: {found}.", "Add other labels.")


def _require_sites(found: int, needed: int, column: str) -> None:
    if found < needed:
        raise UsageError(
            f"{column} has {found} different values, too few for {needed} folds.",
            f"Use at most {found} folds." if found > 1 else "Split by patient only, or name another column.",
        )


def _require_of_each(part: Labels, held_out: str, needed: int) -> None:
    patients = patients_per_class(part)
    if patients.min() < needed:
        rarest = part.classes[int(patients.argmin())]
        raise UsageError(
            f"Without {held_out}, {patients.min()} patients of class {rarest} are left to learn from.",
            "Training and early stopping need one each: add patients, split in another way, or stop by none "
            "with --validation 0."
            if needed > 1
            else "Add patients or split in another way.",
        )
