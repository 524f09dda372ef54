"""Temperatures against a general optimiser, calibration error against its definition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from slidestream.mil.artifact import load_head
from slidestream.mil.calibration import (
    BINS,
    Calibration,
    OutOfFold,
    calibrate,
    calibration_error,
    fit_temperature,
    reliability,
    temper,
)
from slidestream.mil.metrics import brier
from slidestream.mil.predict import predict_run
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train


def overconfident(slides: int, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets drawn from softmax(z), and the probabilities softmax(factor z)."""
    random = np.random.default_rng(seed)
    z = 1.5 * random.normal(size=(slides, 4))
    true = softmax(z, axis=1)
    targets = (random.random(slides)[:, None] > true.cumsum(1)).sum(1)
    return targets, softmax(factor * z, axis=1)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_is_that_of_a_general_optimiser_and_of_the_simulation(factor: float) -> None:
    targets, p = overconfident(4000, factor)
    found = fit_temperature(p, targets)
    best = minimize(lambda t: log_loss(targets, temper(p, t[0])), x0=[1.0], method="Nelder-Mead")
    assert found == pytest.approx(best.x[0], rel=1e-3)
    assert found == pytest.approx(factor, rel=0.1)


def test_temperature_divides_logits_and_keeps_the_order() -> None:
    z = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(temper(softmax(z, axis=1), 2.5), softmax(z / 2.5, axis=1))
    extreme = temper(np.array([[1.0, 0.0, 0.0]]), 3.0)
    assert np.isfinite(extreme).all()
    assert extreme.argmax() == 0


def out_of_fold(folds: np.ndarray, targets: np.ndarray, p: np.ndarray) -> OutOfFold:
    """Every slide a patient of its own, held out by one fold."""
    raw = np.full((folds.max() + 1, *p.shape), np.nan)
    raw[folds, np.arange(len(folds))] = p
    return OutOfFold([f"p{i}" for i in range(len(folds))], targets, raw, np.zeros(len(raw), int))


def test_scaling_lowers_the_calibration_error_of_slides_that_did_not_teach_it() -> None:
    targets, p = overconfident(1500, 3.0, seed=1)
    folds = np.arange(1500) % 5
    cooled = np.array(calibrate(out_of_fold(folds, targets, p)).probabilities)
    assert calibration_error(targets, cooled) < calibration_error(targets, p) / 3
    assert brier(targets, cooled) < brier(targets, p)


def test_the_slides_of_a_fold_do_not_move_their_own_temperature() -> None:
    targets, p = overconfident(300, 2.0)
    folds = np.arange(300) % 3
    before = calibrate(out_of_fold(folds, targets, p))
    changed = np.where(folds == 1, (targets + 1) % 4, targets)
    after = calibrate(out_of_fold(folds, changed, p))
    assert after.fold_temperatures[1] == before.fold_temperatures[1]
    assert after.fold_temperatures[0] != before.fold_temperatures[0]
    assert after.temperature != before.temperature


def test_a_patient_in_two_folds_is_refused() -> None:
    p = np.full((2, 3, 2), np.nan)
    p[0, :2] = p[1, 2:] = 0.5
    with pytest.raises(ValueError, match="two folds"):
        OutOfFold(["a", "b", "a"], np.array([0, 1, 0]), p, np.zeros(2, int))
    OutOfFold(["a", "b", "a"], np.array([0, 1, 0]), p, np.arange(2))  # two repeats


def test_the_calibration_error_is_the_mean_gap_of_its_bins() -> None:
    targets, p = overconfident(200, 2.0)
    p[0] = [0.2, 0.4, 0.2, 0.2]  # 0.4 = 6 / 15 lies on an edge
    total = 0.0
    for number in range(BINS):
        inside = (p.max(1) > number / BINS) & (p.max(1) <= (number + 1) / BINS)
        if inside.any():
            total += abs((p.argmax(1) == targets)[inside].sum() - p.max(1)[inside].sum())
    assert calibration_error(targets, p) == pytest.approx(total / 200)
    assert reliability(targets, p).count.sum() == 200


def test_brier_equals_that_of_scikit_learn() -> None:
    targets, p = overconfident(100, 1.0)
    assert brier(targets, p) == pytest.approx(np.mean(((np.eye(4)[targets] - p) ** 2).sum(1)))
    two, score = targets % 2, p[:, 0]
    assert brier(two, np.stack([1 - score, score], axis=1)) == pytest.approx(brier_score_loss(two, score))


def test_a_head_folder_keeps_its_calibration_and_predicts_with_it(
    cohort: tuple[Path, Path], tmp_path: Path
) -> None:
    run, head = cohort[0], tmp_path / "head"
    report = train(*cohort, head, TrainSpec(folds=3, epochs=20, bootstrap=5))
    assert {"brier", "calibration_error"} <= set(report.metrics["head_uncalibrated"])
    kept = load_head(head).calibration
    assert kept is not None
    assert Calibration.from_dict(json.loads(json.dumps(kept.to_dict()))) == kept
    calibrated = {p.slide: p.fold_probabilities for p in predict_run(head, run)}
    document = json.loads((head / "head.json").read_text())
    del document["calibration"]  # as an older version wrote it
    (head / "head.json").write_text(json.dumps(document))
    for p in predict_run(head, run):
        np.testing.assert_allclose(calibrated[p.slide], temper(p.fold_probabilities, kept.temperature))
