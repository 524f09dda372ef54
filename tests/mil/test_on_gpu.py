"""Heads that are trained on a GPU learn what they learn on a processor."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from slidestream.mil.registry import head_names
from slidestream.mil.spec import TrainSpec
from slidestream.mil.target import Target
from slidestream.mil.train import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
SPEC = TrainSpec(device="cuda", folds=3, epochs=40, bootstrap=20)


def with_outcomes(labels: Path, path: Path) -> Path:
    """The labels, and numbers, labels and times that follow from them."""
    random = np.random.default_rng(0)
    rows = list(csv.DictReader(labels.read_text().splitlines()))
    for row in rows:
        ill = row["label"] == "tumour"
        row["age"], row["er"], row["pr"] = str(40 + 30 * ill), str(int(ill)), str(int(not ill))
        row["months"], row["dead"] = f"{random.exponential(5 if ill else 50):.2f}", "1"
        row["weeks"], row["back"] = row["months"], str(int(random.random() < 0.8))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("name", head_names())
def test_every_head(name: str, cohort: tuple[Path, Path], tmp_path: Path) -> None:
    report = train(*cohort, tmp_path / "head", TrainSpec.from_dict(SPEC.to_dict() | {"head": name}))
    assert report.metrics["head"]["auroc"]["value"] > 0.7


@pytest.mark.parametrize("fusion", ["late", "intermediate"])
def test_every_target_and_covariates(fusion: str, cohort: tuple[Path, Path], tmp_path: Path) -> None:
    labels = with_outcomes(cohort[1], tmp_path / "labels.csv")
    asked = ("label:link", "age:regression", "er+pr:labels", "months:cox:dead", "weeks:hazard:back")
    changes = {"targets": [Target.parse(text).to_dict() for text in asked], "head": "abmil-mb"}
    changes |= {"covariates": ["age"], "fusion": fusion, "drop_patches": 0.2}
    report = train(cohort[0], labels, tmp_path / "head", TrainSpec.from_dict(SPEC.to_dict() | changes))
    assert len(report.outcomes) == len(asked)
    assert (tmp_path / "head" / "predictions.csv").exists()
