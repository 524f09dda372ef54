"""Figures: many classes, and names that matplotlib would take for something else."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from slidestream.mil.graded import Graded
from slidestream.mil.metrics import Predicted
from slidestream.mil.outcomes import Outcome
from slidestream.mil.target import Target
from slidestream.report.captions import CAPTIONS
from slidestream.report.figures import OF_LABELS, OF_NUMBERS, OF_SURVIVAL, SIDE_INCHES, draw, figures_of, svg
from slidestream.report.tables import listed, metric_name


def graded(classes: tuple[str, ...], per_class: int = 3) -> Graded:
    targets = np.arange(len(classes)).repeat(per_class)
    p = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(targets))
    slides = tuple(f"s{i}" for i in range(len(targets)))
    return Graded(slides, Outcome(Target(), classes), Predicted(slides, targets, p), ({},) * len(slides))


def drawn(of: Graded) -> dict[str, Figure]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as a layout that had no room
        figures = {name: draw(drawing, of) for name, drawing in figures_of(of).items()}
        for figure in figures.values():
            assert "<svg" in svg(figure)
    return figures


def test_sixty_classes_have_a_row_each_and_no_legend_over_the_curves() -> None:
    found = drawn(graded(tuple(f"diagnosis number {n:02} of a list that is long" for n in range(60))))
    (axes,) = found["confusion"].axes
    assert found["confusion"].get_size_inches()[1] > 60 * 0.18
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(names)) == 60
    assert max(map(len, names)) == 28
    for name in ("roc", "precision-recall"):
        (axes,) = found[name].axes
        assert axes.get_legend() is None
        assert found[name].get_size_inches()[0] == SIDE_INCHES


@pytest.mark.parametrize("name", ["$x_{$", "_hidden", "a$b$", "\\frac", "100 %", "<b>"])
def test_names_are_shown_as_they_are(name: str) -> None:
    found = drawn(graded(("", name)))
    (axes,) = found["roc"].axes
    (label,) = [text.get_text() for text in axes.get_legend().get_texts()]
    assert label.replace("\\$", "$").strip() == name.strip()


def test_of_one_class_there_is_no_empty_curve() -> None:
    alone = graded(("low", "high"))
    assert set(drawn(alone)) == {"roc", "precision-recall", "confusion", "reliability", "decision-curve"}
    assert set(drawn(alone.only(np.arange(3)))) == {"confusion", "reliability"}


def test_every_figure_has_a_caption() -> None:
    names = {*figures_of(graded(("a", "b"))), *OF_LABELS, *OF_NUMBERS, *OF_SURVIVAL}
    assert names == set(CAPTIONS)


@pytest.mark.parametrize(
    ("key", "prefix", "words"),
    [
        ("auroc", "", "AUROC"),
        ("grade.quadratic_kappa", "grade.", "grade: quadratic kappa"),
        ("auroc_her2_new", "", "AUROC of her2_new"),
        ("t.brier_at_8.89", "t.", "t: Brier score at 8.89"),
        ("sensitivity_at_90_specificity", "", "sensitivity at 90 % specificity"),
    ],
)
def test_metrics_are_called_as_their_readers_call_them(key: str, prefix: str, words: str) -> None:
    assert metric_name(key, prefix) == words


def test_names_with_commas_can_be_told_apart() -> None:
    assert listed(["high, grade", "low"]) == '"high, grade", low'
    assert listed([str(n) for n in range(60)]) == "0, 1, 2 and 57 more"
