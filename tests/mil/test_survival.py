"""Survival losses and curves against torchsurv, scipy and cases worked out by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torchsurv.loss.cox import baseline_survival_function, neg_partial_log_likelihood

from slidestream.mil.survival import (
    baseline_hazard,
    cox_loss,
    hazard_loss,
    hazard_survival,
    interval_edges,
    life_table,
)


def cohort(ties: bool, seed: int = 0, n: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log hazard ratios, times and events of n slides."""
    random = np.random.default_rng(seed)
    times = random.exponential(10, n)
    times = np.ceil(times / 3) if ties else times
    risk = torch.from_numpy(random.normal(size=n) * 2)
    return risk, torch.from_numpy(times), torch.from_numpy(random.random(n) < 0.6)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_partial_likelihood_and_its_gradient_are_those_of_torchsurv(ties: bool, seed: int) -> None:
    risk, times, events = cohort(ties, seed)
    ours, theirs = risk.clone().requires_grad_(), risk.clone().requires_grad_()
    found = cox_loss(ours, times, events)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of ties
        total = neg_partial_log_likelihood(theirs, events, times, ties_method="efron", reduction="sum")
    expected = total / events.sum()  # its own mean is over distinct times
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,), (other,) = torch.autograd.grad(found, ours), torch.autograd.grad(expected, theirs)
    torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)  # theirs is float32 inside


def test_two_events_at_once_by_hand() -> None:
    """Hazards 1, 2, 3, the first two die together: Efron's second denominator has half of them left."""
    risk = torch.tensor([1.0, 2.0, 3.0]).log()
    found = cox_loss(risk, torch.tensor([5.0, 5.0, 7.0]), torch.tensor([True, True, False]))
    assert found.item() == pytest.approx(-np.log(1 / 6 * 2 / (6 - 1.5)) / 2)


def test_the_order_of_slides_and_a_common_factor_do_not_matter() -> None:
    risk, times, events = cohort(ties=True)
    expected = cox_loss(risk, times, events)
    order = torch.randperm(len(risk), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(cox_loss(risk[order] + 900, times[order], events[order]), expected)


@pytest.mark.parametrize("scale", [1.0, 500.0])
def test_extreme_risks_have_finite_losses_and_gradients(scale: float) -> None:
    risk, times, events = cohort(ties=True)
    asked = (risk * scale).float().requires_grad_()
    loss = cox_loss(asked, times.float(), events)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(asked.grad).all()  # type: ignore[arg-type]


def test_without_an_event_there_is_no_loss_but_a_gradient() -> None:
    risk = torch.tensor([1.0, 2.0], requires_grad=True)
    cox_loss(risk, torch.tensor([1.0, 2.0]), torch.tensor([False, False])).backward()
    assert risk.grad is not None
    assert risk.grad.tolist() == [0, 0]


def test_the_baseline_is_the_one_of_breslow() -> None:
    """Against torchsurv, and by hand: hazards 1, 2, 3 with deaths at 5 (the first) and 7 (the second)."""
    risk = torch.tensor([1.0, 2.0, 3.0]).log()
    times, events = torch.tensor([5.0, 7.0, 7.0]), torch.tensor([True, True, False])
    found = baseline_hazard(risk, times, events, torch.tensor([4.9, 5.0, 6.9, 7.0, 99.0]))
    expected = torch.tensor([0, 1 / 6, 1 / 6, 1 / 6 + 1 / 5, 1 / 6 + 1 / 5])
    torch.testing.assert_close(found, expected)
    risk, times, events = cohort(ties=True)
    theirs = baseline_survival_function(risk, events, times)
    at = theirs["time"]
    ours = (-baseline_hazard(risk, times, events, at.double())).exp()
    torch.testing.assert_close(ours.float(), theirs["baseline_survival"].float(), rtol=1e-5, atol=1e-6)


EDGES = torch.tensor([0.0, 2.0, 4.0, 8.0])


def test_hazards_by_hand() -> None:
    """h = 1/4, 1/2, 3/4: an event in the second interval, one at the very end of the first, and slides
    censored at the end of the second and midway through the third."""
    logits = torch.logit(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).expand(1, -1)

    def loss(time: float, event: bool) -> float:
        return hazard_loss(logits, torch.tensor([time]), torch.tensor([event]), EDGES).item()

    assert loss(3, True) == pytest.approx(-np.log(0.75 * 0.5))
    assert loss(2, True) == pytest.approx(-np.log(0.25))
    assert loss(0, True) == pytest.approx(-np.log(0.25))
    assert loss(99, True) == pytest.approx(-np.log(0.75 * 0.5 * 0.75))
    assert loss(4, False) == pytest.approx(-np.log(0.75 * 0.5))
    assert loss(6, False) == pytest.approx(-np.log(0.75 * 0.5 * 0.25**0.5))
    assert loss(0, False) == 0
    curve = hazard_survival(logits, EDGES, torch.tensor([0.0, 1, 2, 4, 6, 8, 50]))[0]
    expected = [1, 0.75**0.5, 0.75, 0.375, 0.375 * 0.5, 0.375 * 0.25, 0.375 * 0.25]
    assert curve.tolist() == pytest.approx(expected)


def test_hazards_that_are_alike_for_all_are_learned_as_the_life_table() -> None:
    """At the minimum each hazard is the share of those at risk that have the event: Kaplan and Meier."""
    random = np.random.default_rng(0)
    times = torch.from_numpy(random.choice([2.0, 4.0, 8.0], 300))
    events = torch.from_numpy(random.random(300) < 0.5)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = hazard_loss(logits.expand(300, -1), times, events, EDGES.double())
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    for k, end in enumerate([2.0, 4.0, 8.0]):
        share = (events & (times == end)).sum() / (times >= end).sum()
        assert torch.sigmoid(logits[k]).item() == pytest.approx(share.item(), abs=1e-4)


def test_the_life_table_by_hand() -> None:
    """Deaths at 1, 3 and 3, a slide lost at 5: the first interval has 1 of 4, the second 2 of 3, the last
    none of the quarter that was seen of it."""
    times, events = torch.tensor([1.0, 3.0, 3.0, 5.0]), torch.tensor([True, True, True, False])
    found = life_table(times, events, EDGES)
    expected = np.log([1.5 / 3.5, 2.5 / 1.5, 0.5 / 0.75])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_intervals_hold_as_many_events_each() -> None:
    _, times, events = cohort(ties=False, n=400)
    edges = interval_edges(times, events, 4)
    assert edges[0] == 0
    assert edges[-1] == times[events].max()
    counts = torch.histogram(times[events], edges)[0]
    assert counts.max() - counts.min() <= 1
    with pytest.raises(ValueError, match="event"):
        interval_edges(times, torch.zeros_like(events), 4)


def test_an_interval_without_width_is_passed_by_those_who_outlive_it() -> None:
    edges = torch.tensor([0.0, 2.0, 2.0, 4.0])
    logits = torch.zeros(1, 3, dtype=torch.float64)
    curve = hazard_survival(logits, edges, torch.tensor([1.0, 2.0, 4.0]))[0]
    assert curve.tolist() == pytest.approx([0.5**0.5, 0.25, 0.125])
    assert torch.isfinite(hazard_loss(logits, torch.tensor([2.0]), torch.tensor([True]), edges))
