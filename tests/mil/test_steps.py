"""The training loop's parts: rate, sampling, augmentation; each against what its source says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from slidestream.errors import UsageError
from slidestream.mil.bags import Bags
from slidestream.mil.fit import FoldJob, fit_head
from slidestream.mil.heads import HeadOutput
from slidestream.mil.registry import build_head, head_names
from slidestream.mil.schedule import schedule_of
from slidestream.mil.spec import TrainSpec
from slidestream.mil.standardise import Moments
from slidestream.mil.steps import Step, training_steps

ROWS = 30
SPEC = TrainSpec(bags_per_step=4)
PAIRS = [(str(number), int(number % 5 == 0)) for number in range(20)]


def load(slide: str) -> Bags:
    """Every patch says its slide and its own number."""
    x = torch.stack([torch.full((ROWS,), float(slide)), torch.arange(ROWS, dtype=torch.float32)], 1)
    return Bags.single(x, torch.arange(2 * ROWS, dtype=torch.int32).reshape(ROWS, 2))


def steps(spec: TrainSpec, seed: int = 0) -> list[Step]:
    return list(training_steps(PAIRS, load, spec, torch.Generator().manual_seed(seed)))


def rates(spec: TrainSpec) -> list[float]:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=spec.lr)
    schedule, found = schedule_of(optimiser, spec), []
    for _ in range(spec.epochs):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return found


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine() -> None:
    found = rates(TrainSpec(epochs=20, lr=2.0, warm_up=0.2))
    np.testing.assert_allclose(found[:4], [0.4, 0.8, 1.2, 1.6])
    np.testing.assert_allclose(found[4:], [1 + math.cos(math.pi * k / 16) for k in range(16)])
    without = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(without, T_max=20)
    for rate in rates(TrainSpec(epochs=20, lr=2.0, warm_up=0.0)):
        assert rate == pytest.approx(without.param_groups[0]["lr"])
        without.step()
        cosine.step()


def test_an_epoch_shows_every_slide_once() -> None:
    seen = torch.cat([step.bags.features[::ROWS, 0] for step in steps(SPEC)])
    assert sorted(seen.int().tolist()) == list(range(20))
    assert [len(step.bags) for step in steps(SPEC)] == [4] * 5


def test_sampled_epochs_show_classes_equally_often() -> None:
    """Four of twenty slides are of class 1; a class is one in two within the binomial band."""
    targets = torch.cat(
        [s.targets for seed in range(50) for s in steps(replace(SPEC, imbalance="sampled"), seed)]
    )
    assert len(targets) == 1000
    assert abs(float(targets.double().mean()) - 0.5) < 4 * math.sqrt(0.25 / 1000)


def test_dropped_patches_leave_the_share_that_was_asked_for() -> None:
    seen: set[int] = set()
    for step in steps(replace(SPEC, drop_patches=0.4)):
        assert step.bags.counts.tolist() == [18] * 4
        for bag in range(4):
            kept = step.bags[bag].features[:, 1].int().tolist()
            assert kept == sorted(set(kept))
            seen |= set(kept)
    assert seen == set(range(ROWS))
    assert steps(replace(SPEC, drop_patches=0.99))[0].bags.counts.tolist() == [1] * 4


def test_a_mixed_bag_is_of_two_slides_by_the_share_of_its_loss() -> None:
    every = [step for seed in range(20) for step in steps(replace(SPEC, mixup=True), seed)]
    mixed = [step for step in every if step.others is not None]
    assert abs(len(mixed) / len(every) - 0.5) < 0.2
    for step in mixed:
        assert step.others is not None
        for bag in range(len(step.bags)):
            numbers = step.bags[bag].features[:, 0].int().tolist()
            own, other = numbers[0], numbers[-1]
            assert numbers.count(own) in (max(1, round(step.share * ROWS)), len(numbers))
            assert int(step.targets[bag]) == dict(PAIRS)[str(own)]
            assert int(step.others[bag]) == dict(PAIRS)[str(other)]
            assert ROWS <= len(numbers) <= ROWS + 1
    shares = np.array([step.share for step in mixed])
    assert shares.min() < 0.2
    assert shares.max() > 0.8


def test_the_loss_of_mixed_bags_is_that_of_both_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    from slidestream.mil.fit import _step_loss

    head = build_head(TrainSpec(head="mean"), 2, 2)
    output = HeadOutput(torch.tensor([[0.3, -1.0], [2.0, 0.1]]), torch.ones(2, 1))
    loss = torch.nn.CrossEntropyLoss()
    own, other = torch.tensor([0, 1]), torch.tensor([1, 1])
    step = Step(load("0"), own, other, 0.3)
    expected = 0.3 * loss(output.logits, own) + 0.7 * loss(output.logits, other)
    assert _step_loss(head, output, step, loss).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", head_names())
def test_every_head_trains_on_augmented_bags(name: str) -> None:
    spec = TrainSpec(head=name, epochs=1, hidden=8, attention=4, mixup=True, drop_patches=0.3)
    job = FoldJob(0, 2, PAIRS, PAIRS[:4], Moments(torch.zeros(2).double(), torch.ones(2).double()), seed=1)
    one, two = (fit_head(job, load, spec).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    plain = fit_head(job, load, replace(spec, mixup=False, drop_patches=0.0)).state_dict()
    assert any(not torch.equal(one[key], plain[key]) for key in one)


@pytest.mark.parametrize("wrong", [{"drop_patches": 1.0}, {"warm_up": 1.0}, {"warm_up": -0.1}, {"jobs": 0}])
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TrainSpec(**wrong)
