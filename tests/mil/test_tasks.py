"""Tasks against their papers' formulas, and through training, storing and predicting."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch.nn.functional import binary_cross_entropy_with_logits

from slidestream.errors import UsageError
from slidestream.mil.artifact import load_head
from slidestream.mil.bags import Bags
from slidestream.mil.decision import decide
from slidestream.mil.ensemble import Answer
from slidestream.mil.fit import FoldJob, fit_head, restore_head
from slidestream.mil.outcomes import Outcome
from slidestream.mil.predict import predict_run
from slidestream.mil.registry import build_head, head_names
from slidestream.mil.spec import TrainSpec
from slidestream.mil.standardise import Moments
from slidestream.mil.target import Target
from slidestream.mil.tasks import TASKS, CumulativeLink, attention_column, build_task
from slidestream.mil.train import train

GRADES = 5
EVEN = torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64).log()
"""The odds that a grade lies above, given that it is reached, of even grades."""


def logits_of(name: str, bags: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(bags, build_task(name, GRADES).outputs, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("name", TASKS)
def test_probabilities_are_a_distribution_even_of_extreme_logits(name: str, classes: int) -> None:
    task = build_task(name, classes)
    logits = torch.tensor([[-80.0], [-3.0], [0.0], [3.0], [80.0]]).expand(-1, task.outputs)
    logs = task.log_probabilities(logits)
    assert logs.shape == (5, classes)
    assert torch.isfinite(logs).all()
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(5))


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("name", TASKS)
def test_a_head_that_says_nothing_finds_all_classes_as_likely(name: str, classes: int) -> None:
    task = build_task(name, classes)
    found = task.probabilities(torch.zeros(3, task.outputs)).detach()
    torch.testing.assert_close(found, torch.full_like(found, 1 / classes), atol=1e-6, rtol=0)


def test_corn_is_a_chain_of_conditional_probabilities() -> None:
    logits = logits_of("corn", 40)
    found = build_task("corn", GRADES).probabilities(logits).numpy()
    climbs = expit((logits + EVEN).numpy())
    for row, p in zip(found, climbs, strict=True):
        above = [np.prod(p[: k + 1]) for k in range(GRADES - 1)]
        np.testing.assert_allclose([row[k + 1 :].sum() for k in range(GRADES - 1)], above)
        assert all(a >= b for a, b in itertools.pairwise(above))


def test_the_loss_of_corn_is_that_of_the_paper() -> None:
    """Equation 7 of Shi et al.: per grade, a binary cross-entropy over the slides that reach it."""
    logits, targets = logits_of("corn", 60), torch.arange(60) % GRADES
    total, terms = torch.zeros((), dtype=torch.float64), 0
    for k in range(GRADES - 1):
        reach = targets >= k
        above = (targets[reach] > k).double()
        total += binary_cross_entropy_with_logits(logits[reach, k], above, reduction="sum")
        terms += int(reach.sum())
    count_every = torch.ones(GRADES, dtype=torch.float64)
    ours = build_task("corn", GRADES).criterion(count_every)(logits - EVEN, targets)
    torch.testing.assert_close(ours * 60 / terms, total / terms)


def test_the_cumulative_link_is_a_difference_of_sigmoids() -> None:
    task = CumulativeLink(GRADES)
    torch.nn.init.normal_(task.steps, generator=torch.Generator().manual_seed(1))
    severity = logits_of("link", 30)
    below = expit(task.thresholds().detach().double().numpy() - severity.numpy())
    expected = np.diff(below, axis=1, prepend=0, append=1)
    np.testing.assert_allclose(task.probabilities(severity).detach().numpy(), expected, atol=1e-6)


def test_thresholds_stay_in_order() -> None:
    task = CumulativeLink(GRADES)
    optimiser = torch.optim.SGD(task.parameters(), lr=5.0)
    targets = torch.tensor([0, 4] * 10)
    for _ in range(60):  # no slide has a grade between: the gaps want to close
        optimiser.zero_grad()
        task.criterion(torch.ones(GRADES))(torch.zeros(20, 1), targets).backward()
        optimiser.step()
    assert (task.thresholds().diff() > 0).all()
    assert torch.isfinite(task.log_probabilities(torch.zeros(1, 1))).all()


@pytest.mark.parametrize("name", ["corn", "link"])
def test_more_severity_never_means_a_lower_grade(name: str) -> None:
    """P(grade > k) rises with the logits for every k: what softmax does not promise."""
    task = build_task(name, GRADES)
    steps = torch.linspace(-6, 6, 50)[:, None].expand(-1, task.outputs)
    above = 1 - task.probabilities(steps).detach().cumsum(1)[:, :-1]
    assert (above.diff(dim=0) > 0).all()


def test_weights_count_a_slide_as_often_as_they_say() -> None:
    for name in TASKS:
        logits, targets = logits_of(name, 6), torch.tensor([0, 1, 2, 3, 4, 4])
        task = build_task(name, GRADES)
        twice = task.criterion(torch.ones(GRADES, dtype=torch.float64))(
            torch.cat([logits, logits[4:]]), torch.cat([targets, targets[4:]])
        )
        weights = torch.tensor([1, 1, 1, 1, 2], dtype=torch.float64)
        torch.testing.assert_close(task.criterion(weights)(logits, targets), twice)


def test_attention_of_a_grade_is_that_of_the_step_to_it() -> None:
    assert [attention_column(grade, 5, 5) for grade in range(5)] == [0, 1, 2, 3, 4]
    assert [attention_column(grade, 5, 4) for grade in range(5)] == [0, 0, 1, 2, 3]
    assert [attention_column(grade, 5, 1) for grade in range(5)] == [0] * 5


def test_the_median_grade_is_nearest_to_the_truth_on_average() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(GRADES), 200)
    distance = p @ np.abs(np.subtract.outer(np.arange(GRADES), np.arange(GRADES)))
    np.testing.assert_array_equal(decide(p, ordered=True), distance.argmin(1))
    np.testing.assert_array_equal(decide(p, ordered=False), p.argmax(1))
    assert decide(np.array([[0.3, 0.29, 0.41]]), ordered=True).tolist() == [1]


@pytest.fixture(scope="module")
def graded(write_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run folder of 36 slides of 18 patients with three grades: how many patches are odd."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("graded")
    lines = ["slide,patient,label"]
    for number in range(36):
        grade = number // 2 % 3
        x = random.normal(size=(random.integers(18, 26), 8)).astype(np.float32)
        x[: 7 * grade, 0] += 5
        write_store(folder / "run", f"s{number:02}", x)
        lines.append(f"s{number:02},p{number // 2},{grade + 1}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "run", folder / "labels.csv"


@pytest.mark.parametrize("task", ["corn", "link"])
def test_an_ordinal_head_is_trained_kept_and_asked(task: str, graded: tuple, tmp_path: Path) -> None:
    spec = TrainSpec(head="mean", task=task, folds=3, epochs=60, bootstrap=10, lr=1e-2)
    report = train(*graded, tmp_path / "head", spec)
    assert report.metrics["head"]["quadratic_kappa"]["value"] > 0.8
    assert load_head(tmp_path / "head").spec.task == task
    with open(tmp_path / "head" / "predictions.csv", newline="") as file:
        written = {row["slide"]: row for row in csv.DictReader(file)}
    for p in predict_run(tmp_path / "head", graded[0], out_of_fold=True):
        expected = [float(written[p.slide][f"p_{grade}"]) for grade in (1, 2, 3)]
        assert p.probabilities.tolist() == pytest.approx(expected, abs=1e-7)
        assert sum(expected) == pytest.approx(1)
        assert p.predicted == written[p.slide]["predicted"]


@pytest.mark.parametrize("task", ["corn", "link"])
@pytest.mark.parametrize("head", head_names())
def test_every_head_takes_every_task(head: str, task: str) -> None:
    """Trained, kept as weights and asked again, without files: those are tested above."""
    spec = TrainSpec(head=head, task=task, epochs=1, hidden=16, attention=8)
    draw = torch.Generator().manual_seed(0)
    corners = torch.cartesian_prod(torch.arange(4), torch.arange(3)) * 224
    bags = {f"s{n}": Bags.single(torch.randn(12, 8, generator=draw), corners) for n in range(9)}
    cases = [(slide, number % 3) for number, slide in enumerate(bags)]
    moments = Moments.together([Moments.of_bag(bag) for bag in bags.values()])
    job = FoldJob(0, 3, cases[:6], cases[6:], moments, 0)
    fitted = fit_head(job, bags.__getitem__, spec)
    again = restore_head(job, fitted.state_dict(), spec)
    with torch.inference_mode():
        first, output = fitted(bags["s0"]).logits, again(bags["s0"])
    torch.testing.assert_close(first, output.logits)
    (answer,) = again.task.answers(output.logits)
    assert answer.shape == (1, 3)
    assert answer.sum().item() == pytest.approx(1)
    said = Answer(Outcome(Target("label", task), ("1", "2", "3")), answer.detach().numpy())
    assert said.attention(again.task, output.attention.numpy()).sum() == pytest.approx(1, abs=1e-4)


def test_a_head_that_tells_classes_apart_has_a_logit_for_each() -> None:
    assert len(build_head(TrainSpec(head="clam-sb", task="link"), 8, 5).clusters) == 5  # type: ignore[arg-type]
    assert build_head(TrainSpec(head="abmil", task="link"), 8, 5).task.outputs == 1


def test_grades_without_a_known_order_and_unknown_tasks_are_refused(graded: tuple, tmp_path: Path) -> None:
    run, labels = graded
    named = tmp_path / "named.csv"
    named.write_text(labels.read_text().replace(",1\n", ",low\n").replace(",2\n", ",mid\n"))
    with pytest.raises(UsageError, match="order of 3, low, mid is not known"):
        train(run, named, tmp_path / "head", TrainSpec(task="corn", folds=2))
    with pytest.raises(UsageError, match="no task 'coral'"):
        train(run, labels, tmp_path / "head", TrainSpec(task="coral", folds=2))
    assert not (tmp_path / "head").exists()
