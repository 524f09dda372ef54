"""Integrated gradients against captum, and their sum against what they take apart."""

from __future__ import annotations

import pytest
import torch

from slidestream.mil.bags import Bags
from slidestream.mil.evidence import evidence
from slidestream.mil.gradients import integrated_gradients
from slidestream.mil.heads import Head
from slidestream.mil.registry import build_head, head_names
from slidestream.mil.spec import TrainSpec
from slidestream.mil.standardise import Moments

DIM, COUNT, LABEL = 7, 11, 1


@pytest.fixture
def bag() -> Bags:
    torch.manual_seed(0)
    places = torch.stack([torch.arange(COUNT) % 4, torch.arange(COUNT) // 4], dim=1) * 224
    return Bags.single(torch.randn(COUNT, DIM) * 3 + 5, places)


def head_of(name: str, bag: Bags) -> Head:
    torch.manual_seed(1)
    head = build_head(TrainSpec(head=name, hidden=16, attention=6), DIM, 3).eval()
    with torch.no_grad():
        for weight in head.parameters():
            weight.mul_(2)
    # The training slides' average is not this bag's.
    head.standardise.fit(Moments.of_bag(Bags.single(bag.features - 3, bag.coords)))
    return head


def value(head: Head, bag: Bags) -> float:
    return evidence(head.task, head(bag).logits, LABEL).item()


@pytest.mark.parametrize("name", head_names())
def test_equal_captum(name: str, bag: Bags) -> None:
    attr = pytest.importorskip("captum.attr")
    head = head_of(name, bag)

    def each(x: torch.Tensor) -> torch.Tensor:
        logits = torch.cat([head(Bags.single(one, bag.coords)).logits for one in x])
        return evidence(head.task, logits, LABEL)

    average = head.standardise.mean.expand(1, COUNT, DIM)
    theirs = attr.IntegratedGradients(each).attribute(
        bag.features[None], average, n_steps=50, method="gausslegendre"
    )
    ours = integrated_gradients(head, bag, LABEL)
    torch.testing.assert_close(ours.float(), theirs[0].sum(1).float(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", head_names())
def test_are_complete(name: str, bag: Bags) -> None:
    """They sum to the difference from the average bag; where a head has kinks, that takes many steps."""
    head = head_of(name, bag)
    average = Bags(head.standardise.mean.expand(COUNT, DIM), bag.offsets, bag.coords)
    expected = value(head, bag) - value(head, average)
    found = integrated_gradients(head, bag, LABEL, steps=200).sum().item()
    assert abs(expected) > 0.2
    assert found == pytest.approx(expected, abs=0.02 * abs(expected))


def test_a_linear_head_gives_every_patch_its_share(bag: Bags) -> None:
    """Mean pooling without a kink: what a patch adds is its own logit's difference, divided by the count."""
    head = head_of("mean", bag)
    # So large a bias keeps every hidden value above 0.
    head.project[0].bias.data += 100
    head.task.log_probabilities = lambda x: torch.stack([-x[:, 1] / 2, x[:, 1] / 2], 1)
    logits = head.classify(head.project(head.standardise(bag.features)))
    least = head.classify(head.project(torch.zeros(1, DIM)))
    found = integrated_gradients(head, bag, LABEL)
    torch.testing.assert_close(found.float(), (logits - least)[:, 1] / COUNT, atol=1e-4, rtol=1e-4)


def test_leave_no_gradient_behind(bag: Bags) -> None:
    head = head_of("abmil", bag)
    integrated_gradients(head, bag, LABEL)
    assert all(weight.grad is None for weight in head.parameters())
