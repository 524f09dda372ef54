"""Heads that learn numbers, labels, grades and survival, together and with gaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slidestream.errors import UsageError
from slidestream.mil.bags import Bags
from slidestream.mil.fit import FoldJob, fit_head, restore_head
from slidestream.mil.heads import Head
from slidestream.mil.metrics import auroc
from slidestream.mil.outcomes import Outcome
from slidestream.mil.registry import head_for, head_names
from slidestream.mil.spec import TrainSpec
from slidestream.mil.standardise import Moments
from slidestream.mil.survival_metrics import concordance, mortality
from slidestream.mil.target import Target

DIM = 6
SPEC = TrainSpec(head="mean", hidden=16, attention=8, epochs=25, lr=1e-2, dropout=0.0, bags_per_step=16)
OUTCOMES = (
    Outcome(Target("grade", "link"), ("1", "2", "3")),
    Outcome(Target("age", "regression")),
    Outcome(Target("er+pr", "labels", ("er", "pr")), ("er", "pr")),
    Outcome(Target("time", "cox", ("dead",)), (), (0.5, 1.0, 2.0)),
    Outcome(Target("relapse", "hazard", ("back",)), (), (0.5, 1.0, 2.0)),
)


def simulate(seed: int, slides: int) -> tuple[dict[str, Bags], np.ndarray]:
    """Bags whose mean holds five numbers, and what follows from each: a target's truth, side by side."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(slides, 5))
    bags = {}
    for number, row in enumerate(hidden):
        x = random.normal(size=(20, DIM)) / 2
        x[:, :5] += row
        bags[f"s{number:03}"] = Bags.single(
            torch.from_numpy(x.astype(np.float32)), torch.zeros(20, 2, dtype=torch.int32)
        )
    times = [random.exponential(np.exp(-2 * hidden[:, i])) for i in (3, 4)]
    lost = random.exponential(3, (2, slides))
    truth = np.c_[
        np.digitize(hidden[:, 0], [-0.5, 0.5]),
        60 + 10 * hidden[:, 1],
        hidden[:, 2] > 0,
        hidden[:, 2] > 0.5,
        *(part for t, c in zip(times, lost, strict=True) for part in (np.minimum(t, c), t <= c)),
    ]
    return bags, truth.astype(float)


def with_gaps(truth: np.ndarray, share: float) -> np.ndarray:
    random, found, place = np.random.default_rng(9), truth.copy(), 0
    for outcome in OUTCOMES:
        found[random.random(len(truth)) < share, place : place + outcome.width] = np.nan
        place += outcome.width
    return found


def job_of(bags: dict[str, Bags], truth: np.ndarray, outcomes: tuple[Outcome, ...] = OUTCOMES) -> FoldJob:
    cases = [(slide, tuple(row)) for slide, row in zip(bags, truth.tolist(), strict=True)]
    moments = Moments.together([Moments.of_bag(bag) for bag in bags.values()])
    part = len(cases) * 4 // 5
    return FoldJob(0, 0, cases[:part], cases[part:], moments, seed=0, outcomes=outcomes)


@torch.inference_mode()
def answers(head: Head, bags: dict[str, Bags]) -> list[np.ndarray]:
    return [a.numpy() for a in head.task.answers(head(Bags.of(list(bags.values()))).logits)]


def test_one_head_learns_five_kinds_of_targets_with_half_of_each_unknown() -> None:
    bags, truth = simulate(0, 200)
    head = fit_head(job_of(bags, with_gaps(truth, 0.5)), bags.__getitem__, SPEC)
    others, real = simulate(1, 150)
    grade, age, labels, time, relapse = answers(head, others)
    assert (grade.argmax(1) == real[:, 0]).mean() > 0.6
    assert np.corrcoef(age[:, 0], real[:, 1])[0, 1] > 0.85
    assert abs(age.mean() - 60) < 3
    for number in (0, 1):
        p = labels[:, number]
        assert auroc(real[:, 2 + number].astype(int), np.stack([1 - p, p], 1)) > 0.85
    for curve, column in ((time, 4), (relapse, 6)):
        found = concordance(real[:, column], real[:, column + 1] == 1, mortality(curve))
        assert found > 0.75
        alive = np.clip(real[:, column, None] > np.array([0.5, 1.0, 2.0]), 0, 1)
        assert ((curve - alive) ** 2).mean() < 0.2  # of half that are alive, guessing costs 0.25


def test_what_was_settled_after_training_is_restored_with_the_weights() -> None:
    bags, truth = simulate(0, 40)
    job, spec = job_of(bags, truth), TrainSpec(head="abmil", epochs=2, hidden=16, attention=8)
    head = fit_head(job, bags.__getitem__, spec)
    again = restore_head(job, head.state_dict(), spec)
    for one, two in zip(answers(head, bags), answers(again, bags), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (answers(head, bags)[3] < 1).all()


@pytest.mark.parametrize("name", head_names())
def test_every_head_takes_every_target_or_says_why_not(name: str) -> None:
    bags, truth = simulate(0, 12)
    spec = TrainSpec(head=name, epochs=1, hidden=16, attention=8)
    if name.startswith("clam"):
        with pytest.raises(UsageError, match="takes one target, with classes"):
            head_for(spec, DIM, OUTCOMES)
        with pytest.raises(UsageError, match="takes one target, with classes"):
            head_for(spec, DIM, OUTCOMES[1:2])
        assert head_for(spec, DIM, OUTCOMES[:1]).task.answers(torch.zeros(1, 3))[0].shape == (1, 3)
        return
    truth[:, 5] = truth[:, 7] = 1
    head = fit_head(job_of(bags, truth), bags.__getitem__, spec)
    sizes = [outcome.size for outcome in OUTCOMES]
    assert [answer.shape for answer in answers(head, bags)] == [(12, size) for size in sizes]
    assert all(np.isfinite(answer).all() for answer in answers(head, bags))


def test_a_target_alone_learns_as_well() -> None:
    """A number as the only target, in its own units."""
    bags, truth = simulate(0, 120)
    head = fit_head(job_of(bags, truth[:, 1:2], OUTCOMES[1:2]), bags.__getitem__, SPEC)
    others, real = simulate(1, 100)
    (age,) = answers(head, others)
    assert 1 - ((age[:, 0] - real[:, 1]) ** 2).mean() / real[:, 1].var() > 0.8
