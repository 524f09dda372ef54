"""Folds: patients stay whole, classes stay balanced, the same seed gives the same folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidestream.errors import UsageError
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.splits import assign_folds, patients_per_class, validation_part


def cohort(slides_of: list[tuple[int, int]]) -> Labels:
    """Labels of patients given as (class, number of slides)."""
    return Labels.of(
        Entry(f"s{p}-{i}", f"p{p}", str(label))
        for p, (label, count) in enumerate(slides_of)
        for i in range(count)
    )


patients = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=6, max_size=40)


@settings(max_examples=60)
@given(patients, st.integers(2, 5), st.integers(0, 1000))
def test_a_patient_is_never_on_both_sides(slides_of: list[tuple[int, int]], folds: int, seed: int) -> None:
    labels = cohort(slides_of)
    if len(labels.classes) < 2 or patients_per_class(labels).min() < folds:
        with pytest.raises(UsageError):
            assign_folds(labels, folds, seed)
        return
    fold = assign_folds(labels, folds, seed)
    assert set(fold) == set(range(folds))
    of_patient: dict[str, set[int]] = {}
    for patient, number in zip(labels.patients, fold, strict=True):
        of_patient.setdefault(patient, set()).add(int(number))
    assert all(len(numbers) == 1 for numbers in of_patient.values())
    np.testing.assert_array_equal(fold, assign_folds(labels, folds, seed))


@settings(max_examples=60)
@given(patients, st.integers(0, 1000))
def test_validation_holds_out_whole_patients_and_leaves_some(
    slides_of: list[tuple[int, int]], seed: int
) -> None:
    labels = cohort(slides_of)
    if len(labels.classes) < 2 or patients_per_class(labels).min() < 2:
        with pytest.raises(UsageError):
            validation_part(labels, seed, 5)
        return
    held_out = validation_part(labels, seed, 5)
    patients = np.array(labels.patients)
    assert held_out.any()
    assert set(labels.targets[~held_out]) == set(labels.targets)
    assert not set(patients[held_out]) & set(patients[~held_out])


def test_classes_are_balanced_over_folds() -> None:
    labels = cohort([(p % 2, 1) for p in range(40)])
    fold = assign_folds(labels, 5, seed=3)
    for number in range(5):
        assert np.bincount(labels.targets[fold == number]).tolist() == [4, 4]


def test_seeds_give_different_folds() -> None:
    labels = cohort([(p % 2, 1) for p in range(40)])
    assert (assign_folds(labels, 5, seed=0) != assign_folds(labels, 5, seed=1)).any()


def test_too_few_patients_name_class_and_fix() -> None:
    # Ten slides of class 1, but of two patients only.
    labels = cohort([(0, 1)] * 8 + [(1, 5)] * 2)
    with pytest.raises(UsageError, match=r"Class 1 has 2 patients.*at most 2 folds"):
        assign_folds(labels, 5, seed=0)
    with pytest.raises(UsageError, match="at least two classes"):
        assign_folds(cohort([(0, 1)] * 8), 2, seed=0)
