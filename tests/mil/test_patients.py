"""Slides of one patient as one bag: nothing lost, nothing split, every slide known again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from slidestream.errors import UsageError
from slidestream.mil.alibi import cells_of
from slidestream.mil.artifact import load_head
from slidestream.mil.bags import Bags
from slidestream.mil.graded import read_graded
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.patients import APART, one_bag, pool_patients
from slidestream.mil.predict import predict_run
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

SPEC = TrainSpec(folds=3, epochs=20, bootstrap=20, bag="patient", lr=1e-2)


def test_patients_are_named_by_their_slides() -> None:
    labels = Labels.of([Entry("c", "q", "1"), Entry("b", "p", "0"), Entry("a", "p", "0")])
    pooled, members = pool_patients(labels)
    assert pooled.entries == (Entry("a|b", "p", "0"), Entry("c", "q", "1"))
    assert members == {"a|b": ("a", "b"), "c": ("c",)}


def test_a_patient_has_one_label() -> None:
    with pytest.raises(UsageError, match="patient p have different labels: 0, 1"):
        pool_patients(Labels.of([Entry("a", "p", "0"), Entry("b", "p", "1")]))
    with pytest.raises(UsageError, match="no bag 'case'"):
        TrainSpec(bag="case")


def test_slides_lie_side_by_side_on_one_grid() -> None:
    def slide(rows: int, corner: int) -> Bags:
        x = torch.arange(rows, dtype=torch.int32) % 4 * 256 + corner
        y = torch.arange(rows, dtype=torch.int32) // 4 * 256 + corner
        return Bags.single(torch.randn(rows, 3), torch.stack([x, y], 1))

    one, other = slide(12, 17), slide(8, 1000)
    both = one_bag([one, other])
    assert both.counts.tolist() == [20]
    assert torch.equal(both.features, torch.cat([one.features, other.features]))
    for part, rows in ((one, slice(0, 12)), (other, slice(12, 20))):
        moved = both.coords[rows] - part.coords
        assert (moved == moved[0]).all()  # distances within a slide stay
    assert int(both.coords[12:, 0].min() - both.coords[:12, 0].max()) >= APART
    places, _ = cells_of(both.coords)
    assert len(places) == 20  # and the step of the grid too
    assert one_bag([one]) is one


def test_a_patient_knows_what_any_slide_knows() -> None:
    """Cells of several targets: a gap is filled by the patient's other slide, a contradiction is refused."""
    labels = Labels.of([Entry("a", "p", "", ("1", "", "")), Entry("b", "p", "", ("", "7.5", ""))])
    pooled, _ = pool_patients(labels)
    assert pooled.entries == (Entry("a|b", "p", "", ("1", "7.5", "")),)
    labels = Labels.of([Entry("a", "p", "", ("1", "3")), Entry("b", "p", "", ("1", "4"))])
    with pytest.raises(UsageError, match="patient p have different labels: 3, 4"):
        pool_patients(labels)


def test_a_head_of_patients_says_one_thing_of_each(cohort: tuple[Path, Path], tmp_path: Path) -> None:
    report = train(*cohort, tmp_path / "head", SPEC)
    assert report.metrics["slides"] == 24
    assert report.metrics["patients"] == 12
    assert report.metrics["head"]["auroc"]["value"] > 0.9
    with open(tmp_path / "head" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert sorted(slide for row in rows for slide in row["slides"].split("|")) == [
        f"s{number:02}" for number in range(24)
    ]
    fold = {slide: int(row["fold"]) for row in rows for slide in row["slides"].split("|")}
    assert load_head(tmp_path / "head").folds_of_slide == {slide: (k,) for slide, k in fold.items()}
    assert "patient 0" not in json.dumps(json.loads((tmp_path / "head" / "head.json").read_text()))
    for prediction in predict_run(tmp_path / "head", cohort[0], out_of_fold=True):
        assert prediction.folds == (fold[prediction.slide],)
    own, other = read_graded(tmp_path / "head"), read_graded(tmp_path / "head", cohort[1])
    assert own.slides == other.slides == tuple(sorted(f"patient {n}" for n in range(12)))
    assert own.predicted.known.tolist() == other.predicted.known.tolist()
    assert [row["site"] for row in other.facts] == ["x"] * 12
