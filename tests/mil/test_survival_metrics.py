"""Survival metrics against torchsurv, scipy, a score test, and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import CensoredData, chi2, ecdf, logrank
from torchsurv.metrics.brier_score import BrierScore
from torchsurv.metrics.cindex import ConcordanceIndex
from torchsurv.stats.ipcw import get_ipcw

from slidestream.mil.survival import cox_loss
from slidestream.mil.survival_metrics import (
    brier_over_time,
    concordance,
    concordance_uno,
    integrated_brier,
    kaplan_meier,
    log_rank,
    mortality,
    not_censored,
)


def cohort(seed: int, n: int = 80, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, events and risks, of which some are equal."""
    random = np.random.default_rng(seed)
    times = random.exponential(10, n)
    times = np.ceil(times / 3) if ties else times
    return times, random.random(n) < 0.6, random.integers(0, 30, n) / 10


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_concordance_is_that_of_torchsurv(seed: int, ties: bool) -> None:
    times, events, risk = cohort(seed, ties=ties)
    theirs = ConcordanceIndex()(*map(torch.from_numpy, (risk, events, times)))
    assert concordance(times, events, risk) == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_concordance_of_uno_is_that_of_torchsurv(seed: int) -> None:
    times, events, risk = cohort(seed)
    tensors = [torch.from_numpy(x) for x in (risk, events, times)]
    until = float(np.quantile(times, 0.8))
    weights = get_ipcw(*tensors[1:])
    theirs = ConcordanceIndex()(*tensors, weight=weights.double(), tmax=torch.tensor(until))
    assert concordance_uno(times, events, risk, until) == pytest.approx(theirs.item(), abs=1e-5)


def test_concordance_by_hand() -> None:
    """Deaths at 1 and 2, a censoring at 2, a death at 3: the pairs are 1-2, 1-2', 1-3, 2-2' and 2-3."""
    times, events = np.array([1.0, 2, 2, 3]), np.array([True, True, False, True])
    assert concordance(times, events, np.array([4.0, 3, 2, 1])) == 1
    assert concordance(times, events, np.array([4.0, 3, 3, 5])) == pytest.approx((2 + 0.5) / 5)
    assert np.isnan(concordance(times[3:], events[3:], np.ones(1)))


@pytest.mark.parametrize("digits", [4, 1])
def test_concordance_of_many_slides_is_that_of_every_pair(digits: int) -> None:
    """More slides than are compared at once; rounded, many share a time or a risk."""
    random = np.random.default_rng(digits)
    times, risk = random.exponential(3, 2500).round(digits), random.normal(size=2500).round(digits)
    events = random.random(2500) < 0.6
    died, lost = events[:, None], ~events
    later = died & ((times[:, None] < times) | ((times[:, None] == times) & lost))
    right = (later & (risk[:, None] > risk)).sum() + (later & (risk[:, None] == risk)).sum() / 2
    assert concordance(times, events, risk) == pytest.approx(right / later.sum(), rel=1e-12)


def test_uno_is_not_swayed_by_who_is_censored() -> None:
    """Two kinds of slides whose order is clear at first and by chance later; late ones are often censored.
    Harrell's share sees the early pairs too often, Uno's is that without censoring."""
    random = np.random.default_rng(0)
    early = random.random(4000) < 0.3
    times = np.where(early, random.uniform(0, 1, 4000), random.uniform(1, 6, 4000))
    risk = np.where(early, 2 + random.normal(size=4000) / 9, random.normal(size=4000) / 9)
    truth = concordance(times, times < 5, risk)
    lost = random.exponential(2, 4000)
    seen, until = times <= lost, np.minimum(times, lost)
    harrell, uno = concordance(until, seen, risk), concordance_uno(until, seen, risk, 5.0)
    assert harrell > truth + 0.04
    assert uno == pytest.approx(truth, abs=0.015)


@pytest.mark.parametrize("ties", [False, True])
def test_kaplan_meier_is_that_of_scipy(ties: bool) -> None:
    times, events, _ = cohort(1, ties=ties)
    theirs = ecdf(CensoredData(times[events], right=times[~events])).sf
    distinct, share = kaplan_meier(times, events)
    np.testing.assert_array_equal(distinct, theirs.quantiles)
    np.testing.assert_allclose(share, theirs.probabilities)


def test_who_dies_when_another_is_censored_was_still_there_to_be() -> None:
    times, events = np.array([1.0, 1, 2, 2, 3]), np.array([True, False, False, False, True])
    at = np.array([0.5, 1, 1.5, 2, 3])
    assert not_censored(times, events, at).tolist() == pytest.approx([1, 3 / 4, 3 / 4, 1 / 4, 1 / 4])
    assert not_censored(times, events, at, before=True).tolist() == pytest.approx([1, 1, 3 / 4, 3 / 4, 1 / 4])


@pytest.mark.parametrize("seed", range(3))
def test_brier_scores_are_those_of_torchsurv(seed: int) -> None:
    times, events, _ = cohort(seed)
    at = np.quantile(times, [0.1, 0.3, 0.5, 0.7])
    survival = np.sort(np.random.default_rng(seed).random((len(times), 4)))[:, ::-1].copy()
    t, e, s, new = (torch.from_numpy(x) for x in (times, events, survival, at))
    judge = BrierScore()
    theirs = judge(s, e, t, new, get_ipcw(e, t), get_ipcw(e, t, new))
    found = brier_over_time(times, events, survival, at)
    np.testing.assert_allclose(found, theirs.numpy(), rtol=1e-5)
    assert integrated_brier(found, at) == pytest.approx(judge.integral().item(), rel=1e-5)


def test_brier_scores_by_hand_and_beyond_the_last_slide() -> None:
    """One death at 1, one slide lost at 2, one that lives to 3; survival said 0.6, 0.7, 0.8 at every time."""
    times, events = np.array([1.0, 2, 3]), np.array([True, False, False])
    survival = np.array([0.6, 0.7, 0.8])[:, None].repeat(3, 1)
    found = brier_over_time(times, events, survival, np.array([1.5, 2.5, 3.0]))
    assert found[0] == pytest.approx((0.6**2 + 0.3**2 + 0.2**2) / 3)
    assert found[1] == pytest.approx((0.6**2 + 0.2**2 / 0.5) / 3)
    assert np.isnan(found[2])
    assert integrated_brier(found, np.array([1.5, 2.5, 3.0])) == pytest.approx(found[:2].mean())
    assert np.isnan(integrated_brier(found[2:], np.array([3.0])))


def test_weights_make_up_for_the_censored() -> None:
    """With and without censoring at random the Brier score is the same but for noise."""
    random = np.random.default_rng(0)
    rate = random.uniform(0.2, 2, 20_000)
    times, lost = random.exponential(1 / rate), random.exponential(2, 20_000)
    at = np.array([0.3, 1.0, 2.0])
    survival = np.exp(-rate[:, None] * at)
    whole = brier_over_time(times, np.ones(20_000, bool), survival, at)
    np.testing.assert_allclose(
        brier_over_time(np.minimum(times, lost), times <= lost, survival, at), whole, atol=0.006
    )


def test_log_rank_is_that_of_scipy_for_two_groups() -> None:
    for ties in (False, True):
        times, events, risk = cohort(4, ties=ties)
        group = (risk > 1.5).astype(np.int64)
        parts = [
            CensoredData(times[events & (group == g)], right=times[~events & (group == g)]) for g in (0, 1)
        ]
        assert log_rank(times, events, group) == pytest.approx(logrank(*parts).pvalue)


def test_log_rank_of_three_groups_is_the_score_test_of_cox() -> None:
    times, events, risk = cohort(5)
    group = np.digitize(risk, [1.0, 2.0])
    dummies = torch.from_numpy(np.eye(3)[group][:, 1:])
    tensors = torch.from_numpy(times), torch.from_numpy(events)

    def total(weights: torch.Tensor) -> torch.Tensor:
        return cox_loss(dummies @ weights, *tensors) * events.sum()

    zero = torch.zeros(2, dtype=torch.float64)
    score = torch.autograd.functional.jacobian(total, zero)
    information = torch.autograd.functional.hessian(total, zero)
    statistic = (score @ torch.linalg.solve(information, score)).item()
    assert log_rank(times, events, group) == pytest.approx(chi2.sf(statistic, 2))


def test_groups_that_no_event_tells_apart_are_equal() -> None:
    times = np.array([1.0, 2, 3])
    assert log_rank(times, np.zeros(3, bool), np.array([0, 1, 1])) == 1
    assert log_rank(times, np.ones(3, bool), np.zeros(3, np.int64)) == 1


def test_mortality_has_the_order_of_proportional_hazards_and_survives_certainty() -> None:
    risk = np.linspace(-3, 3, 20)
    survival = np.exp(-np.exp(risk)[:, None] * np.array([0.01, 0.2, 3.0]))
    assert (np.diff(mortality(survival)) > 0).all()
    np.testing.assert_allclose(np.diff(np.log(mortality(survival))), np.diff(risk))
    assert np.isfinite(mortality(np.zeros((1, 2)))).all()
