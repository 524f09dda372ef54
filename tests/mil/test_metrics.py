"""Metrics against definitions, intervals against theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    roc_auc_score,
    roc_curve,
)

from slidestream.mil.metrics import (
    Predicted,
    auprc,
    auroc,
    balanced_accuracy,
    evaluate,
    f1,
    patient_resamples,
    quadratic_kappa,
    sensitivity_at,
)


def two_columns(score: np.ndarray) -> np.ndarray:
    return np.stack([1 - score, score], axis=1)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    targets, score = random.integers(0, 2, 60), random.integers(0, 20, 60) / 20
    pairs = score[targets == 1][:, None] - score[targets == 0][None]
    expected = (pairs > 0).mean() + (pairs == 0).mean() / 2
    assert auroc(targets, two_columns(score)) == pytest.approx(expected)


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 30))
def test_metrics_equal_those_of_scikit_learn(seed: int, classes: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), random.integers(0, classes, 40)])
    p = random.integers(1, levels + 1, (len(targets), classes)).astype(float)  # coarse: ties abound
    p /= p.sum(1, keepdims=True)
    score = p[:, 1] if classes == 2 else p
    assert auroc(targets, p) == pytest.approx(roc_auc_score(targets, score, multi_class="ovr"))
    assert balanced_accuracy(targets, p) == pytest.approx(balanced_accuracy_score(targets, p.argmax(1)))
    truth = targets if classes == 2 else np.eye(classes)[targets]
    assert auprc(targets, p) == pytest.approx(average_precision_score(truth, score))
    assert f1(targets, p) == pytest.approx(f1_score(targets, p.argmax(1), average="macro"))
    kappa = cohen_kappa_score(targets, p.argmax(1), weights="quadratic")
    assert quadratic_kappa(targets, p) == pytest.approx(kappa)


@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([0.5, 0.8, 0.9, 1.0]))
def test_sensitivity_at_a_specificity_is_the_best_point_of_the_curve(
    seed: int, levels: int, specificity: float
) -> None:
    random = np.random.default_rng(seed)
    targets = np.concatenate([[0, 1], random.integers(0, 2, 40)])
    score = random.integers(0, levels + 1, len(targets)) / levels
    false, found, _ = roc_curve(targets, score, drop_intermediate=False)
    expected = found[false <= 1 - specificity + 1e-12].max()
    assert sensitivity_at(targets, two_columns(score), specificity) == pytest.approx(expected)


def test_multiclass_auroc_is_the_mean_of_one_against_the_rest() -> None:
    random = np.random.default_rng(1)
    targets, p = random.integers(0, 3, 90), random.dirichlet(np.ones(3), 90)
    each = [auroc((targets == c).astype(np.int64), two_columns(p[:, c])) for c in range(3)]
    assert auroc(targets, p) == pytest.approx(np.mean(each))
    assert balanced_accuracy(targets, p) == pytest.approx(
        np.mean([(p[targets == c].argmax(1) == c).mean() for c in range(3)])
    )


def test_auroc_without_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match="every class"):
        auroc(np.zeros(4, np.int64), two_columns(np.linspace(0, 1, 4)))


def test_an_interval_covers_as_theory_says() -> None:
    """Balanced accuracy of independent slides: the interval is close to the normal approximation."""
    random = np.random.default_rng(2)
    targets = np.repeat([0, 1], 200)
    right = random.random(400) < 0.8
    score = np.where(right == (targets == 1), 0.9, 0.1)
    predicted = Predicted([f"p{i}" for i in range(400)], targets, two_columns(score))
    found = evaluate(predicted, resamples=1000, seed=0)["balanced_accuracy"]
    shares = [right[targets == c].mean() for c in (0, 1)]
    error = np.sqrt(sum(s * (1 - s) / 200 for s in shares)) / 2
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.01)


def test_repeated_slides_of_a_patient_do_not_narrow_the_interval() -> None:
    random = np.random.default_rng(3)
    targets, score = np.repeat([0, 1], 15), random.random(30)
    once = Predicted([f"p{i}" for i in range(30)], targets, two_columns(score))
    rows = np.repeat(np.arange(30), 4)
    often = Predicted([f"p{i}" for i in rows], targets[rows], two_columns(score[rows]))
    one, four = (evaluate(p, resamples=1000, seed=0)["auroc"] for p in (once, often))
    assert four.value == pytest.approx(one.value)
    assert four.high - four.low == pytest.approx(one.high - one.low, abs=0.05)


def test_resamples_draw_whole_patients_and_repeat_with_the_seed() -> None:
    patients = ["a", "a", "b", "c", "c", "c"]
    predicted = Predicted(patients, np.array([0, 0, 1, 1, 1, 0]), two_columns(np.linspace(0, 1, 6)))
    draws = patient_resamples(predicted, 50, seed=1)
    for rows in draws:
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[1]
        assert counts[3] == counts[4] == counts[5]
        assert counts[0] + counts[2] + counts[3] == 3
    again = patient_resamples(predicted, 50, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(draws, again, strict=True))
    assert len(draws) < 50  # some miss class 1 or class 0


def test_no_usable_resample_gives_no_interval() -> None:
    predicted = Predicted(["a", "b"], np.array([0, 1]), two_columns(np.array([0.1, 0.9])))
    seeds = [s for s in range(20) if not patient_resamples(predicted, 1, s)]
    estimate = evaluate(predicted, resamples=1, seed=seeds[0])["auroc"]
    assert (estimate.value, estimate.low, estimate.high, estimate.resamples) == (1.0, None, None, 0)
