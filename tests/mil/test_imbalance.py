"""Losses for rare classes against their papers' formulas, and what they do to a rare class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from slidestream.errors import UsageError
from slidestream.mil.bags import Bags
from slidestream.mil.fit import FoldJob, class_shares, fit_head
from slidestream.mil.imbalance import CRITERIA, balanced_criterion
from slidestream.mil.spec import IMBALANCE, TrainSpec
from slidestream.mil.standardise import Moments
from slidestream.mil.tasks import build_task

SHARES = np.array([0.7, 0.2, 0.1])
LOGITS = np.random.default_rng(0).normal(size=(12, 3)) * 2
TARGETS = np.arange(12) % 3
ROWS = np.arange(12)


def loss(name: str) -> float:
    criterion = balanced_criterion(name, build_task("classes", 3), torch.from_numpy(SHARES))
    return criterion(torch.from_numpy(LOGITS), torch.from_numpy(TARGETS)).item()


def test_the_losses_are_those_of_their_papers() -> None:
    logs, p = log_softmax(LOGITS, axis=1)[ROWS, TARGETS], softmax(LOGITS, axis=1)[ROWS, TARGETS]
    weights = 1 / SHARES[TARGETS]
    adjusted = log_softmax(LOGITS + np.log(SHARES), axis=1)[ROWS, TARGETS]
    expected = {
        "none": -logs.mean(),
        "weighted": -(weights * logs).sum() / weights.sum(),
        "focal": -((1 - p) ** 2 * logs).mean(),
        "logit": -adjusted.mean(),
        "sampled": -logs.mean(),  # the sampling itself is tested with the steps
    }
    assert set(expected) == set(CRITERIA) == set(IMBALANCE)
    for name, value in expected.items():
        assert loss(name) == pytest.approx(value), name


@pytest.mark.parametrize("task", ["classes", "corn", "link"])
@pytest.mark.parametrize("name", IMBALANCE)
def test_every_loss_takes_every_task_and_stays_finite(name: str, task: str) -> None:
    built = build_task(task, 3)
    logits = (torch.randn(9, built.outputs) * 60).requires_grad_()
    value = balanced_criterion(name, built, torch.tensor([0.9, 0.09, 0.01]))(logits, torch.arange(9) % 3)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()  # type: ignore[arg-type]


def recall(name: str, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    bags = [Bags.single(torch.from_numpy(row[None]), torch.zeros(1, 2, dtype=torch.int32)) for row in x]
    pairs = [(str(number), int(label)) for number, label in enumerate(y)]
    moments = Moments.together([Moments.of_bag(bag) for bag in bags])
    spec = TrainSpec(head="mean", imbalance=name, epochs=15, dropout=0.0, bags_per_step=40, lr=5e-3)
    head = fit_head(FoldJob(0, 2, pairs, pairs, moments, seed=0), lambda slide: bags[int(slide)], spec)
    with torch.inference_mode():
        predicted = head(Bags.of(bags)).logits.argmax(1).numpy()
    return float((predicted[y == 1] == 1).mean())


def test_a_rare_class_is_found_more_often() -> None:
    """Two classes that overlap, one of them a tenth of the slides."""
    random = np.random.default_rng(0)
    y = (np.arange(200) % 10 == 0).astype(np.int64)
    x = (random.normal(size=(200, 4)) + y[:, None]).astype(np.float32)
    found = {name: recall(name, x, y) for name in ("none", "weighted", "logit")}
    assert found["weighted"] > found["none"] + 0.15
    assert found["logit"] > found["none"] + 0.15


def test_shares_are_of_the_training_slides_and_other_names_are_refused() -> None:
    job = FoldJob(
        0, 3, [("a", 0), ("b", 2), ("c", 2), ("d", 1)], [], Moments(torch.zeros(1), torch.ones(1)), 0
    )
    assert class_shares(job).tolist() == [0.25, 0.25, 0.5]
    with pytest.raises(UsageError, match="no imbalance 'smote'"):
        TrainSpec(imbalance="smote")
