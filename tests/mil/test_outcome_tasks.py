"""Tasks without classes, alone and several at once, with gaps: against scikit-learn, torch and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from slidestream.mil.joint import Joint, build_part
from slidestream.mil.outcomes import Outcome
from slidestream.mil.spec import IMBALANCE
from slidestream.mil.survival import cox_loss, hazard_loss, life_table
from slidestream.mil.target import Target

NAN = float("nan")
TIMES = (1.0, 2.0, 4.0)
OUTCOMES = (
    Outcome(Target("grade"), ("low", "mid", "high")),
    Outcome(Target("age", "regression")),
    Outcome(Target("ihc", "labels", ("er", "pr")), ("er", "pr")),
    Outcome(Target("time", "cox", ("dead",)), (), TIMES),
    Outcome(Target("relapse", "hazard", ("back",)), (), TIMES),
)
SLICES = {"grade": (0, 1), "age": (1, 2), "ihc": (2, 4), "time": (4, 6), "relapse": (6, 8)}


def known(slides: int = 40, gaps: float = 0.3) -> torch.Tensor:
    """(slides, 8) of the outcomes; a part of each target is not known."""
    random = np.random.default_rng(0)
    columns = {
        "grade": random.integers(0, 3, (slides, 1)).astype(float),
        "age": random.normal(60, 10, (slides, 1)),
        "ihc": random.integers(0, 2, (slides, 2)).astype(float),
        "time": np.c_[random.exponential(3, slides), random.integers(0, 2, slides)],
        "relapse": np.c_[random.exponential(3, slides), random.integers(0, 2, slides)],
    }
    for values in columns.values():
        values[random.random(slides) < gaps] = np.nan
    columns["ihc"][0, 1] = np.nan
    return torch.from_numpy(np.concatenate(list(columns.values()), axis=1)).float()


def test_the_loss_is_the_mean_over_targets_of_means_over_known_slides() -> None:
    truth, joint = known(), Joint(OUTCOMES)
    assert joint.outputs == 3 + 1 + 2 + 1 + 4
    joint.prepare(truth)
    logits = torch.randn(40, joint.outputs, generator=torch.Generator().manual_seed(0))
    found = joint.learn(truth, "none")(logits, truth)
    rows = {n: ~truth[:, a:b].isnan().all(1) for n, (a, b) in SLICES.items()}
    age = truth[rows["age"], 1:2].numpy()
    scaled = StandardScaler().fit_transform(age)[:, 0]
    dead, back = (truth[rows[name]][:, slice(*SLICES[name])] for name in ("time", "relapse"))
    edges = torch.cat([torch.zeros(1), torch.quantile(back[back[:, 1] == 1, 0], torch.linspace(0, 1, 5))[1:]])
    base = life_table(back[:, 0], back[:, 1] == 1, edges)
    labels = [
        binary_cross_entropy_with_logits(logits[seen, 4 + i], truth[seen, 2 + i])
        for i, seen in enumerate(~truth[:, 2:4].isnan().T)
    ]
    expected = [
        cross_entropy(logits[rows["grade"], :3], truth[rows["grade"], 0].long()).item(),
        float(((logits[rows["age"], 3].numpy() - scaled) ** 2).mean()),
        torch.stack(labels).mean().item(),
        cox_loss(logits[rows["time"], 6], dead[:, 0], dead[:, 1] == 1).item(),
        hazard_loss(logits[rows["relapse"], 7:] + base, back[:, 0], back[:, 1] == 1, edges).item(),
    ]
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_slide_teaches_nothing_of_what_is_not_known_of_it() -> None:
    truth, joint = known(), Joint(OUTCOMES)
    joint.prepare(truth)
    logits = torch.randn(40, joint.outputs, requires_grad=True)
    joint.learn(truth, "weighted")(logits, truth).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    for number, (start, end) in enumerate(SLICES.values()):
        unknown = truth[:, start:end].isnan().all(1)
        assert unknown.any()
        columns = joint.columns(number)
        assert (logits.grad[unknown][:, columns] == 0).all()
        assert (logits.grad[~unknown][:, columns] != 0).any()
    assert logits.grad[0, 5] == 0  # of two labels, the one that is not known


def test_a_step_in_which_nothing_is_known_has_no_loss() -> None:
    truth, joint = known(), Joint(OUTCOMES)
    joint.prepare(truth)
    logits = torch.randn(3, joint.outputs, requires_grad=True)
    loss = joint.learn(truth, "none")(logits, torch.full((3, 8), NAN))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("imbalance", IMBALANCE)
def test_rare_labels_are_weighed_as_rare_classes_are(imbalance: str) -> None:
    """A label is two classes of which one logit speaks."""
    column = (torch.arange(30) % 5 == 0).float()[:, None]
    part = build_part(Outcome(Target("x", "labels", ("x",)), ("x",)))
    choice = build_part(Outcome(Target("x"), ("no", "yes")))
    logits = torch.randn(30, 1)
    found = part.learn(column, imbalance)(logits, column)
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    torch.testing.assert_close(found, choice.learn(column, imbalance)(both, column))


def test_answers_are_probabilities_numbers_and_survival() -> None:
    truth, joint = known(gaps=0), Joint(OUTCOMES)
    joint.prepare(truth)
    logits = torch.randn(40, joint.outputs, generator=torch.Generator().manual_seed(0))
    joint.settle(logits, truth)
    grade, age, ihc, time, relapse = joint.answers(logits)
    torch.testing.assert_close(grade, logits[:, :3].double().softmax(1))
    mean, spread = truth[:, 1].double().mean(), truth[:, 1].double().std(correction=0)
    torch.testing.assert_close(age, mean + spread * logits[:, 3:4].double())
    torch.testing.assert_close(ihc, logits[:, 4:6].double().sigmoid())
    for curve in (time, relapse):
        assert curve.shape == (40, 3)
        assert ((curve > 0) & (curve <= 1)).all()
        assert (curve.diff(dim=1) <= 0).all()
    assert all(answer.dtype == torch.float64 for answer in joint.answers(logits))


def test_survival_of_equal_risks_is_that_of_the_cohort() -> None:
    """Without differences, a Cox head says exp(-Nelson and Aalen's hazard) of its training slides."""
    part = build_part(OUTCOMES[3])
    truth = torch.tensor([[0.5, 1], [1.5, 0], [2.0, 1], [3.0, 1], [9.0, 0]])
    part.settle(torch.full((5, 1), 0.7), truth)
    hazard = np.array([1 / 5, 1 / 5 + 1 / 3, 1 / 5 + 1 / 3 + 1 / 2])
    np.testing.assert_allclose(part.answer(torch.full((1, 1), 0.7))[0].numpy(), np.exp(-hazard), rtol=1e-6)


def test_what_a_task_has_learned_is_kept_with_the_weights() -> None:
    truth, joint, other = known(), Joint(OUTCOMES), Joint(OUTCOMES)
    joint.prepare(truth)
    logits = torch.randn(40, joint.outputs)
    joint.settle(logits, truth)
    other.load_state_dict(joint.state_dict())
    for one, two in zip(joint.answers(logits), other.answers(logits), strict=True):
        assert torch.equal(one, two)
