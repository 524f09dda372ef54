"""Linear baselines against scikit-learn and the optimum that torchsurv's likelihood defines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from torchsurv.loss.cox import neg_partial_log_likelihood

from slidestream.mil.outcomes import Known, Outcome
from slidestream.mil.probes import STRENGTHS, probe_target, ridge_cox
from slidestream.mil.survival_metrics import concordance, mortality
from slidestream.mil.target import Target


def features(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return StandardScaler().fit_transform(np.random.default_rng(seed).normal(size=(rows, columns)))


@pytest.mark.parametrize("shape", [(80, 5), (40, 120)])
def test_the_ridge_of_cox_is_at_its_optimum(shape: tuple[int, int]) -> None:
    """Also where there are more features than slides."""
    x, random = features(*shape), np.random.default_rng(1)
    times = random.exponential(np.exp(-x[:, 0]))
    events = random.random(shape[0]) < 0.7
    weights = torch.from_numpy(ridge_cox(x, times, events)).requires_grad_()
    risk = torch.from_numpy(x) @ weights
    fit = neg_partial_log_likelihood(risk, torch.from_numpy(events), torch.from_numpy(times), reduction="sum")
    (fit + shape[1] / 2 * (weights**2).sum()).backward()
    assert weights.grad is not None
    assert weights.grad.abs().max() < 1e-3 * shape[1]
    assert weights.argmax() == 0


def test_survival_of_the_probe_has_the_order_and_the_level_of_the_truth() -> None:
    random, x = np.random.default_rng(0), features(600, 4)
    rate = np.exp(x[:, 0])
    times, lost = random.exponential(1 / rate), random.exponential(3, 600)
    truth = np.stack([np.minimum(times, lost), times <= lost], axis=1).astype(float)
    truth[:50] = np.nan
    at = (0.2, 0.7, 2.0)
    known = Known(Outcome(Target("time", "hazard", ("dead",)), (), at), truth)
    found = probe_target(known, x, x)
    np.testing.assert_allclose(found, np.exp(-rate[:, None] * at), atol=0.1)
    assert concordance(times, np.ones(600, bool), mortality(found)) > 0.7


def test_a_number_is_predicted_by_ridge_regression_of_the_best_strength() -> None:
    random, x = np.random.default_rng(0), features(60, 30)
    y = 50 + 4 * x[:, 0] + random.normal(size=60) * 3
    truth = y[:, None].copy()
    truth[40:] = np.nan
    found = probe_target(Known(Outcome(Target("age", "regression")), truth), x, x[40:])[:, 0]
    scaler = StandardScaler().fit(x[:40])
    every = [
        Ridge(s).fit(scaler.transform(x[:40]), y[:40]).predict(scaler.transform(x[40:])) for s in STRENGTHS
    ]
    assert min(np.abs(one - found).max() for one in every) < 1e-6
    assert np.corrcoef(found, y[40:])[0, 1] > 0.6


def test_labels_have_a_logistic_regression_each_from_the_slides_where_they_are_known() -> None:
    random, x = np.random.default_rng(0), features(80, 6)
    truth = (x[:, :2] + random.normal(size=(80, 2)) > 0).astype(float)
    truth[:30, 1] = np.nan
    known = Known(Outcome(Target("er+pr", "labels", ("er", "pr")), ("er", "pr")), truth)
    found = probe_target(known, x, x)
    for number, rows in enumerate((slice(0, 80), slice(30, 80))):
        scaler = StandardScaler().fit(x[rows])
        model = LogisticRegression(max_iter=2000, class_weight="balanced")
        model.fit(scaler.transform(x[rows]), truth[rows, number])
        np.testing.assert_allclose(
            found[:, number], model.predict_proba(scaler.transform(x))[:, 1], atol=1e-6
        )
