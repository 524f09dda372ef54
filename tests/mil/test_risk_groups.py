"""Patients parted by risk, and the figures of targets without classes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import CensoredData, logrank

from slidestream.mil.graded import Graded
from slidestream.mil.judged import Labelled, Measured, Survived
from slidestream.mil.metrics import Judged
from slidestream.mil.outcomes import Outcome
from slidestream.mil.risk_groups import risk_groups
from slidestream.mil.survival_metrics import kaplan_meier
from slidestream.mil.target import Target
from slidestream.report.figures import draw, figures_of

AT = (0.2, 0.5, 1.0)


def survived(patients: int = 40, informed: bool = True) -> Survived:
    """Two slides per patient."""
    random = np.random.default_rng(0)
    rate = np.exp(random.normal(size=patients)).repeat(2)
    times = random.exponential(1 / rate[::2]).repeat(2)
    lost = random.exponential(2, patients).repeat(2)
    said = rate if informed else np.ones_like(rate)
    names = [f"p{number}" for number in range(patients) for _ in range(2)]
    return Survived(
        names, np.minimum(times, lost), times <= lost, np.exp(-said[:, None] * np.array(AT)), np.array(AT)
    )


@pytest.mark.parametrize("count", [2, 3])
def test_patients_not_slides_are_parted_evenly(count: int) -> None:
    judged = survived()
    groups = risk_groups(judged, count)
    assert len(groups.group) == 40
    assert np.ptp(np.bincount(groups.group)) <= 1
    _, first = np.unique(judged.patients, return_index=True)
    risk = judged.risk[first]
    assert [risk[groups.group == g].max() < risk[groups.group == g + 1].min() for g in range(count - 1)]
    assert (groups.times == judged.times[first]).all()
    if count == 2:
        own = [(groups.times[groups.group == g], groups.events[groups.group == g]) for g in (0, 1)]
        parts = [CensoredData(t[e], right=t[~e]) for t, e in own]
        assert groups.p == pytest.approx(logrank(*parts).pvalue)
        assert groups.p < 0.01


def test_patients_of_equal_risk_are_one_group() -> None:
    groups = risk_groups(survived(informed=False))
    assert len(np.unique(groups.group)) == 1
    assert groups.p == 1


def graded(judged: Judged, outcome: Outcome) -> Graded:
    return Graded(tuple(f"s{i}" for i in range(len(judged.patients))), outcome, judged, ())


def test_the_curve_that_is_drawn_is_that_of_kaplan_and_meier() -> None:
    judged = survived()
    of = graded(judged, Outcome(Target("months", "cox", ("dead",)), (), AT))
    drawings = figures_of(of)
    assert list(drawings) == ["kaplan-meier", "kaplan-meier-thirds", "brier"]
    (axes,) = draw(drawings["kaplan-meier"], of).axes
    groups = risk_groups(judged)
    for number, line in enumerate(axes.lines[::2]):
        own = groups.group == number
        times, share = kaplan_meier(groups.times[own], groups.events[own])
        np.testing.assert_array_equal(line.get_xdata(), [0, *times])
        np.testing.assert_allclose(line.get_ydata(), [1, *share])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[0] == f"lower risk ({groups.events[groups.group == 0].sum()} of 20)"
    assert f"p = {groups.p:.2g}" in axes.get_title()
    assert axes.get_xlabel() == "months"
    (axes,) = draw(drawings["brier"], of).axes
    ours, alike = (line.get_ydata() for line in axes.lines)
    assert np.mean(ours) < np.mean(alike)


def test_numbers_are_drawn_beside_the_truth_and_labels_where_they_are_known() -> None:
    judged = Measured(["a", "b", "c"], np.array([1.0, 2, 3]), np.array([1.5, 2, 2]))
    of = graded(judged, Outcome(Target("age", "regression")))
    (axes,) = draw(figures_of(of)["scatter"], of).axes
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[1, 1.5], [2, 2], [3, 2]])
    truth = np.array([[1, 0], [0, np.nan], [1, 0]])
    labelled = Labelled(["a", "b", "c"], ("er", "pr"), truth, np.array([[0.9, 0.1], [0.2, 0.5], [0.1, 0.4]]))
    of = graded(labelled, Outcome(Target("er+pr", "labels", ("er", "pr")), ("er", "pr")))
    (axes,) = draw(figures_of(of)["roc"], of).axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["er"], "pr is never there"
