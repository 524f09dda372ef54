"""One grade per patient: the mean of the slides' grades, or the grade of all slides as one bag."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import InputError, UsageError
from slidestream.features.layout import store_path
from slidestream.mil.by_patient import Patients, predict_patients
from slidestream.mil.predict import predict_run
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

SPEC = TrainSpec(folds=3, epochs=20, bootstrap=10, lr=1e-2)
Trained = tuple[Path, Path, Patients]


@pytest.fixture(scope="module")
def heads(cohort: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Head folders trained on slides and on patients."""
    folder = tmp_path_factory.mktemp("heads")
    for bag in ("slide", "patient"):
        train(*cohort, folder / bag, replace(SPEC, bag=bag))
    return folder


@pytest.fixture
def patients(cohort: tuple[Path, Path]) -> Patients:
    with open(cohort[1], newline="") as file:
        return Patients({row["slide"]: row["patient"] for row in csv.DictReader(file)}, out_of_fold=True)


def test_of_a_head_of_slides_the_mean(heads: Path, cohort: tuple[Path, Path], patients: Patients) -> None:
    alone = {p.slide: p for p in predict_run(heads / "slide", cohort[0], out_of_fold=True)}
    found = list(predict_patients(heads / "slide", cohort[0], patients))
    assert [p.patient for p in found] == sorted(set(patients.of_slide.values()))
    for p in found:
        assert len(p.slides) == 2
        assert len(p.folds) == 1
        assert not p.seen
        expected = sum(alone[slide].probabilities for slide in p.slides) / 2
        np.testing.assert_allclose(p.probabilities, expected, rtol=1e-12)
        assert p.familiarity == min(alone[slide].familiarity or 9 for slide in p.slides)
        assert p.predicted == p.classes[int(expected[1] > 0.5)]


def test_of_a_head_of_patients_what_training_said(
    heads: Path, cohort: tuple[Path, Path], patients: Patients
) -> None:
    with open(heads / "patient/predictions.csv", newline="") as file:
        written = {row["patient"]: row for row in csv.DictReader(file)}
    for p in predict_patients(heads / "patient", cohort[0], patients):
        assert "|".join(p.slides) == written[p.patient]["slides"]
        assert p.probabilities[1] == pytest.approx(float(written[p.patient]["p_tumour"]), abs=1e-7)
        assert p.folds == (int(written[p.patient]["fold"]),)
        assert not p.seen
        assert 0 < (p.familiarity or 0) <= 1


def test_all_heads_are_asked_unless_out_of_fold(
    heads: Path, cohort: tuple[Path, Path], patients: Patients
) -> None:
    for name in ("slide", "patient"):
        first, *_ = predict_patients(heads / name, cohort[0], replace(patients, out_of_fold=False))
        assert first.folds == (0, 1, 2)
        assert first.seen


def test_a_new_slide_of_a_known_patient_asks_the_head_that_saw_neither(
    heads: Path, own_cohort: tuple[Path, Path], patients: Patients, write_store: Callable[..., Path]
) -> None:
    write_store(own_cohort[0], "new", np.ones((9, 8), np.float32))
    more = Patients({**patients.of_slide, "new": "patient 3"}, out_of_fold=True)
    found = {p.patient: p for p in predict_patients(heads / "slide", own_cohort[0], more)}
    before = {p.patient: p for p in predict_patients(heads / "slide", own_cohort[0], patients)}
    assert found["patient 3"].slides == ("new", "s06", "s07")
    assert found["patient 3"].folds == before["patient 3"].folds
    assert not found["patient 3"].seen


def test_slides_of_two_training_patients_are_no_patient(
    heads: Path, cohort: tuple[Path, Path], patients: Patients
) -> None:
    everyone = Patients(dict.fromkeys(patients.of_slide, "one"), out_of_fold=True)
    with pytest.raises(UsageError, match="slides of different patients"):
        list(predict_patients(heads / "slide", cohort[0], everyone))


def test_a_patient_with_a_missing_slide_fails_alone(
    heads: Path, own_cohort: tuple[Path, Path], patients: Patients
) -> None:
    run = own_cohort[0]
    (store_path(run, "s04") / "zarr.json").unlink()
    more = Patients({**patients.of_slide, "elsewhere": "patient 1", "gone": "patient 99"})
    told: dict[str, str] = {}
    found = list(
        predict_patients(heads / "slide", run, more, lambda who, error: told.update({who: error.cause}))
    )
    assert sorted(told) == ["patient 1", "patient 2", "patient 99"]
    assert "Slide elsewhere of patient patient 1 has no embeddings" in told["patient 1"]
    assert len(found) == 10
    with pytest.raises(InputError):
        list(predict_patients(heads / "slide", run, more))
    with pytest.raises(UsageError, match="No slide of the table"):
        list(predict_patients(heads / "slide", run, Patients({"other": "p"})))
