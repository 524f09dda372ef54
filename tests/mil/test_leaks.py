"""A planted patient leak and a planted duplicate stop training; the same within a patient does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import UsageError
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

SPEC = TrainSpec(folds=2, epochs=1, bootstrap=1, hidden=8, attention=4)
Cohort = tuple[Path, Path]


@pytest.fixture
def plant(own_cohort: Cohort, write_store: Callable[..., Path], planted: tuple) -> Callable[..., Cohort]:
    """Add a slide `twin` of a patient, made from s04 of patient 2."""

    def add(patient: str, noise: float = 0.0, rows: int = 0, **changes: object) -> Cohort:
        run, labels = own_cohort
        x = planted[0]["s04"]
        x = x + noise * np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
        write_store(run, "twin", x[rows:], bad=(3,), **changes)
        labels.write_text(labels.read_text() + f"twin,{patient},normal,x\n")
        return run, labels

    return add


def same_source(identity: str) -> dict[str, object]:
    return {"kind": "slide", "identity": identity, "size": [1000, 500], "spacing": [0.5, 0.5]}


def test_the_same_content_under_two_patients_stops(plant: Callable[..., Cohort], tmp_path: Path) -> None:
    """Other patches of the same file: only the identity tells."""
    run = plant("somebody else", noise=1.0, rows=5, source=same_source("content of s04"))
    with pytest.raises(UsageError) as caught:
        train(*run, tmp_path / "head", SPEC)
    assert "s04 (patient patient 2) and twin (patient somebody else)" in caught.value.cause
    assert "--allow-duplicates" in caught.value.fix
    assert not (tmp_path / "head").exists()


def test_a_slide_saved_again_under_another_patient_stops(
    plant: Callable[..., Cohort], tmp_path: Path
) -> None:
    """Another file, so another identity; embeddings that differ as after another compression."""
    run = plant("somebody else", noise=0.01)
    with pytest.raises(UsageError, match=r"s04 \(patient patient 2\) and twin \(patient somebody else\)"):
        train(*run, tmp_path / "head", SPEC)
    report = train(*run, tmp_path / "head", replace(SPEC, allow_duplicates=True))
    assert report.metrics["slides"] == 25


@pytest.mark.parametrize(
    ("patient", "noise", "rows"), [("patient 2", 0.0, 0), ("else", 2.0, 0), ("else", 0.0, 1)]
)
def test_the_same_patient_other_tissue_and_other_counts_pass(
    patient: str, noise: float, rows: int, plant: Callable[..., Cohort], tmp_path: Path
) -> None:
    assert train(*plant(patient, noise, rows), tmp_path / "head", SPEC).metrics["slides"] == 25


def test_a_slide_of_broken_embeddings_stops_before_it_spoils_all(
    own_cohort: Cohort, write_store: Callable[..., Path], planted: tuple, tmp_path: Path
) -> None:
    """As after an overflow in float16: one slide of 24 would turn the others into noise, unseen."""
    write_store(own_cohort[0], "s04", planted[0]["s04"] * np.float32(1e4), bad=(3,))
    with pytest.raises(UsageError, match=r"embeddings of slide s04 are \d+ times as large"):
        train(*own_cohort, tmp_path / "head", SPEC)
