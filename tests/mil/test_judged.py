"""Metrics of numbers, labels and survival beside scikit-learn's, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

from slidestream.mil.judged import Labelled, Measured, Survived
from slidestream.mil.metrics import evaluate, patient_resamples
from slidestream.mil.survival_metrics import concordance

PATIENTS = [f"p{number}" for number in range(90)]


def test_metrics_of_a_number_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(60, 10, 90)
    answers = truth + random.normal(3, 5, 90)
    found = Measured(PATIENTS, truth, answers).metrics()
    assert found == {
        "r2": pytest.approx(r2_score(truth, answers)),
        "mae": pytest.approx(mean_absolute_error(truth, answers)),
        "pearson": pytest.approx(pearsonr(truth, answers).statistic),
    }
    assert Measured(PATIENTS, truth, np.full(90, 60.0)).metrics()["pearson"] == 0
    alike = Measured(PATIENTS, np.full(90, 60.0), answers)
    assert alike.kinds == 1
    assert [name for name, value in alike.metrics().items() if not np.isnan(value)] == ["mae"]


def labelled(seed: int = 0) -> Labelled:
    random = np.random.default_rng(seed)
    truth = (random.random((90, 3)) < 0.4).astype(float)
    p = 1 / (1 + np.exp(-(truth - 0.5) * [3, 1, 0] - random.normal(size=(90, 3))))
    truth[random.random((90, 3)) < 0.3] = np.nan
    return Labelled(PATIENTS, ("er", "pr", "her2"), truth, p)


def test_labels_are_judged_each_where_it_is_known() -> None:
    judged = labelled()
    found = judged.metrics()
    for number, name in enumerate(judged.names):
        known = ~np.isnan(judged.truth[:, number])
        truth, p = judged.truth[known, number], judged.probabilities[known, number]
        assert found[f"auroc_{name}"] == pytest.approx(roc_auc_score(truth, p))
        assert found[f"auprc_{name}"] == pytest.approx(average_precision_score(truth, p))
        assert found[f"brier_{name}"] == pytest.approx(brier_score_loss(truth, p))
    for metric in ("auroc", "auprc", "brier"):
        expected = np.mean([found[f"{metric}_{name}"] for name in judged.names])
        assert found[f"macro_{metric}"] == pytest.approx(expected)


def test_a_label_that_is_never_there_has_no_metrics_and_spoils_no_others() -> None:
    judged = labelled()
    judged.truth[:, 1] = np.where(np.isnan(judged.truth[:, 1]), np.nan, 0)
    found = evaluate(judged, resamples=50, seed=0)
    assert "auroc_pr" not in found
    assert found["macro_auroc"].value == pytest.approx(
        (found["auroc_er"].value + found["auroc_her2"].value) / 2
    )
    assert found["auroc_er"].resamples == 50
    judged.truth[:] = 0
    assert judged.kinds == 1
    assert evaluate(judged, resamples=5, seed=0) == {}


def test_a_rare_label_has_an_interval_from_the_resamples_that_hold_it() -> None:
    judged = labelled()
    judged.truth[:, 2] = 0
    judged.truth[0, 2] = 1
    found = evaluate(judged, resamples=200, seed=0)
    expected = sum(0 in rows for rows in patient_resamples(judged, 200, 0))
    assert found["auroc_her2"].resamples == expected < 200
    assert found["auroc_er"].resamples == 200


def survived(seed: int = 0, n: int = 90) -> Survived:
    random = np.random.default_rng(seed)
    risk = random.normal(size=n)
    times, lost = random.exponential(np.exp(-risk)), random.exponential(2, n)
    at = np.array([0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.0])
    survival = np.exp(-np.exp(risk)[:, None] * at)
    return Survived([f"p{i}" for i in range(n)], np.minimum(times, lost), times <= lost, survival, at)


def test_survival_is_judged_by_its_order_and_by_its_curves() -> None:
    judged = survived()
    found = evaluate(judged, resamples=100, seed=0)
    assert list(found) == [
        *("c_index", "c_index_uno", "integrated_brier"),
        *("brier_at_0.2", "brier_at_0.8", "brier_at_1.6"),
    ]
    expected = concordance(judged.times, judged.events, judged.survival[:, 0] * -1)
    assert found["c_index"].value == pytest.approx(expected)
    assert found["c_index"].low is not None
    assert found["c_index"].low > 0.5
    uninformed = Survived(
        judged.patients, judged.times, judged.events, judged.survival.mean(0)[None].repeat(90, 0), judged.at
    )
    assert uninformed.metrics()["c_index"] == 0.5
    assert uninformed.metrics()["integrated_brier"] > found["integrated_brier"].value


def test_without_an_order_in_time_there_is_nothing_to_judge() -> None:
    judged = survived(n=4)
    nobody = Survived(judged.patients, judged.times, np.zeros(4, bool), judged.survival, judged.at)
    assert nobody.kinds == 1
    assert np.isnan(nobody.metrics()["c_index"])
    assert np.isnan(nobody.metrics()["c_index_uno"])
    assert nobody.metrics()["brier_at_0.2"] == pytest.approx(
        ((1 - nobody.survival[nobody.times > 0.2, 1]) ** 2 * (4 / (nobody.times > 0.2).sum())).mean()
        * (nobody.times > 0.2).mean(),
        rel=1e-9,
    )
    last = judged.times == judged.times.max()
    assert Survived(judged.patients, judged.times, last, judged.survival, judged.at).kinds == 1


def test_the_interval_of_concordance_covers_the_truth() -> None:
    """40 cohorts of 90: at 95 %, more than 7 misses come about in 1 of 1,000."""
    truth = survived(seed=99, n=6000).metrics()["c_index"]
    found = [evaluate(survived(seed), resamples=100, seed=0)["c_index"] for seed in range(40)]
    missed = sum(not (one.low or 0) <= truth <= (one.high or 1) for one in found)
    assert missed <= 7
