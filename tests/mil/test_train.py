"""From stores to a head folder: learns, repeats itself, and leaves nothing out silently."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import nn

from slidestream.errors import ContractMismatch, StoreCorrupt, StoreIncomplete, UsageError
from slidestream.mil.artifact import load_head
from slidestream.mil.crossval import cross_validate
from slidestream.mil.fit import EpochReport, FoldJob, class_shares, fit_head, validation_loss
from slidestream.mil.spec import TrainSpec
from slidestream.mil.splits import plan_folds
from slidestream.mil.standardise import Moments
from slidestream.mil.train import train

SPEC = TrainSpec(folds=3, epochs=40, bootstrap=50)


@pytest.mark.parametrize(("name", "least"), [("musk1", 0.80), ("tiger", 0.74)])
def test_learns_the_benchmarks_of_the_literature(name: str, least: float, benchmark_bags: Callable) -> None:
    """Chance is 0.5; the linear probe reaches about 0.85 on both."""
    labels, bags = benchmark_bags(name)
    spec = TrainSpec(bootstrap=20, epochs=40, folds=3)
    result = cross_validate(plan_folds(labels, spec), bags.__getitem__, spec)
    assert result.metrics["head"]["auroc"].value > least
    assert result.metrics["linear_probe"]["auroc"].value > least
    expected = roc_auc_score(labels.targets, result.probabilities[:, 1])
    assert result.metrics["head"]["auroc"].value == pytest.approx(expected)


def test_shuffled_labels_teach_nothing(benchmark_bags: Callable) -> None:
    """Any leak from a held-out fold into its head, its statistics or its stopping would show here."""
    labels, bags = benchmark_bags("musk1")
    slides = list(labels.slides)
    values = []
    for seed in range(3):
        shuffled = dict(zip(slides, np.random.default_rng(seed).permutation(slides), strict=True))
        spec = TrainSpec(bootstrap=1, epochs=10, seed=seed, folds=3)
        result = cross_validate(plan_folds(labels, spec), lambda s, m=shuffled: bags[m[s]], spec)
        values.append(result.metrics["head"]["auroc"].value)
    assert 0.3 < np.mean(values) < 0.7


def test_a_head_folder_tells_the_truth(cohort: tuple[Path, Path], tmp_path: Path) -> None:
    report = train(*cohort, tmp_path / "head", SPEC)
    assert report.metrics["head"]["auroc"]["value"] > 0.9
    assert report.classes == ("normal", "tumour")
    with open(tmp_path / "head" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = [row["label"] == "tumour" for row in rows]
    score = [float(row["p_tumour"]) for row in rows]
    assert report.metrics["head"]["auroc"]["value"] == pytest.approx(roc_auc_score(truth, score))
    found = balanced_accuracy_score([row["label"] for row in rows], [row["predicted"] for row in rows])
    assert report.metrics["head"]["balanced_accuracy"]["value"] == pytest.approx(found)
    assert json.loads((tmp_path / "head" / "metrics.json").read_text()) == report.metrics
    folds: dict[str, set[str]] = {}
    for row in rows:
        assert float(row["p_normal"]) + float(row["p_tumour"]) == pytest.approx(1)
        folds.setdefault(row["patient"], set()).add(row["fold"])
    assert all(len(of_patient) == 1 for of_patient in folds.values())
    assert "patient" not in (tmp_path / "head" / "head.json").read_text().replace('"patients"', "")


def test_the_same_seed_gives_the_same_bytes_and_leaves_no_trace(cohort: tuple, tmp_path: Path) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(SPEC.threads + 1)
    for name in ("one", "two"):
        train(*cohort, tmp_path / name, SPEC)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.get_num_threads() == SPEC.threads + 1
    torch.set_num_threads(threads)
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert files == [
        *(f"fold-{k}.safetensors" for k in range(3)),
        "head.json",
        "history.jsonl",
        "known.safetensors",
        "metrics.json",
        "predictions.csv",
    ]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert not list(tmp_path.glob(".*partial"))


def test_what_is_left_out_is_reported(
    own_cohort: tuple, write_store: Callable[..., Path], tmp_path: Path
) -> None:
    run, labels = own_cohort
    blank = np.ones((2, 8), np.float32)
    write_store(run, "empty", blank, bad=(0, 1))
    write_store(run, "unlabelled", blank)
    labels.write_text(labels.read_text() + "empty,q1,normal\nabsent,q2,tumour\n")
    report = train(run, labels, tmp_path / "head", SPEC)
    assert report.metrics["left_out"] == {
        "without_label": ["unlabelled"],
        "without_store": ["absent"],
        "without_patches": ["empty"],
    }
    assert report.metrics["slides"] == 24
    assert report.metrics["patients"] == 12


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"patch": {"size_px": 224, "spacing": 0.5}}, "patch.spacing: 1.0 != 0.5"),
        ({"stain": {"method": "macenko"}}, 'stain: null != {"method": "macenko"}'),
    ],
)
def test_mixed_embeddings_are_refused(
    own_cohort: tuple, write_store: Callable[..., Path], tmp_path: Path, changes: dict, field: str
) -> None:
    run, labels = own_cohort
    write_store(run, "s23", np.ones((2, 8), np.float32), **changes)
    with pytest.raises(ContractMismatch) as caught:
        train(run, labels, tmp_path / "head", SPEC)
    assert field in caught.value.cause
    assert "s23" in caught.value.cause
    assert not (tmp_path / "head").exists()


def test_nothing_is_written_over_and_wrong_names_are_shown(own_cohort: tuple, tmp_path: Path) -> None:
    run, labels = own_cohort
    (tmp_path / "head").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        train(run, labels, tmp_path / "head", SPEC)
    labels.write_text("slide,patient,label\ns00.svs,p,0\n")
    with pytest.raises(UsageError, match=r"labels name s00.svs.*run folder holds s00, s01, s02 and 21 more"):
        train(run, labels, tmp_path / "other", SPEC)


def test_progress_is_told_and_training_stops_early(cohort: tuple, tmp_path: Path) -> None:
    told: list[EpochReport] = []
    spec = TrainSpec(folds=3, epochs=500, patience=2, hidden=16, attention=8, bootstrap=1, lr=3e-2)
    train(*cohort, tmp_path / "head", spec, told.append)
    for fold in range(3):
        epochs = [report.epoch for report in told if report.fold == fold]
        losses = [report.validation_loss for report in told if report.fold == fold]
        assert epochs == list(range(len(epochs)))
        assert len(epochs) < 500
        assert len(losses) - 1 - int(np.argmin(losses)) == spec.patience


def test_the_kept_weights_are_those_of_the_best_epoch(benchmark_bags: Callable) -> None:
    """The kept head has exactly the least validation loss that was told, not the last."""
    labels, bags = benchmark_bags("musk1")
    pairs = list(zip(labels.slides, labels.targets.tolist(), strict=True))
    moments = Moments.together([Moments.of_bag(bags[slide]) for slide, _ in pairs[::2]])
    job = FoldJob(0, 2, pairs[::2], pairs[1::2], moments, seed=0)
    told: list[EpochReport] = []
    head = fit_head(job, bags.__getitem__, TrainSpec(epochs=12, lr=1e-2), told.append)
    losses = [report.validation_loss for report in told]
    assert min(losses) < losses[-1]
    criterion = nn.CrossEntropyLoss(1 / (2 * class_shares(job)))
    assert validation_loss(head, job.validation, bags.__getitem__, criterion) == pytest.approx(min(losses))


def test_a_damaged_head_folder_is_refused(cohort: tuple, tmp_path: Path) -> None:
    head = tmp_path / "head"
    train(*cohort, head, SPEC)
    weights = head / "fold-1.safetensors"
    blob = bytearray(weights.read_bytes())
    blob[-1] ^= 1
    weights.write_bytes(blob)
    with pytest.raises(StoreCorrupt, match="fold-1"):
        load_head(head)
    weights.unlink()
    with pytest.raises(StoreCorrupt, match="fold-1"):
        load_head(head)
    with pytest.raises(StoreIncomplete, match="no head folder"):
        load_head(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"folds": 1}, {"epochs": 0}, {"lr": 0.0}, {"dropout": 1.0}, {"lr": float("nan")}, {"seed": -1}]
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        TrainSpec(**wrong)
