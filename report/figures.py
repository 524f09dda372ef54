"""Figures of an evaluation: curves with matplotlib, as SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..mil.calibration import reliability
from ..mil.decision import decide
from ..mil.evaluation import decision_curve
from ..mil.graded import Graded
from ..mil.metrics import operating_points
from ..text import visible

SIDE_INCHES = 4.2
DPI = 150
INK, CHANCE = "#1f4e79", "#999999"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "slidestream"}
"""Text stays text, and the same figure is the same bytes."""

Drawing = Callable[[Axes, Graded], None]


def roc(axes: Axes, graded: Graded) -> None:
    """Receiver operating characteristic, a curve per class against the rest."""
    for name, positive, score in _one_against_rest(graded):
        found, false = operating_points(positive, score)
        axes.plot(false, found, drawstyle="steps-post", label=name)
    axes.plot([0, 1], [0, 1], color=CHANCE, linestyle=":")
    _square(axes, "1 - specificity", "sensitivity")


def precision_recall(axes: Axes, graded: Graded) -> None:
    """Precision over recall; dotted, the share of the class, which is chance."""
    for name, positive, score in _one_against_rest(graded):
        found, false = operating_points(positive, score)
        right, wrong = found[1:] * positive.sum(), false[1:] * (~positive).sum()
        (line,) = axes.plot(found[1:], right / (right + wrong), drawstyle="steps-pre", label=name)
        axes.axhline(positive.mean(), color=line.get_color(), linestyle=":", linewidth=0.8)
    _square(axes, "recall", "precision")


def confusion(axes: Axes, graded: Graded) -> None:
    """Slides by label (rows) and by the class they were given."""
    p, classes = graded.predicted, len(graded.classes)
    given = decide(p.probabilities, p.ordered)
    counts = np.bincount(p.targets * classes + given, minlength=classes**2).reshape(classes, classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=ink)
    names = [visible(name) for name in graded.classes]
    axes.set_xticks(range(classes), names, rotation=30 if max(map(len, names)) > 6 else 0)
    axes.set_yticks(range(classes), names)
    axes.set_xlabel("graded as")
    axes.set_ylabel("label")


def reliability_diagram(axes: Axes, graded: Graded) -> None:
    """How often the given class was right, over how sure it was; the size of a dot is its slides."""
    found = reliability(graded.predicted.targets, graded.predicted.probabilities)
    axes.plot([0, 1], [0, 1], color=CHANCE, linestyle=":")
    axes.plot(found.confidence, found.accuracy, color=INK, linewidth=0.8)
    sizes = 12 + 160 * found.count / found.count.sum()
    axes.scatter(found.confidence, found.accuracy, s=sizes, color=INK, alpha=0.7)
    _square(axes, "probability of the likeliest class", "share that was right")


def net_benefit(axes: Axes, graded: Graded) -> None:
    """Decision curve: what acting on the prediction is worth, against acting on all or on none."""
    points = list(decision_curve(graded, np.linspace(0.01, 0.99, 99)))
    thresholds, benefit, everyone = (np.array(column) for column in zip(*points, strict=True))
    axes.plot(thresholds, benefit, color=INK, label="by prediction")
    axes.plot(thresholds, everyone, color=CHANCE, label="all")
    axes.axhline(0, color=CHANCE, linestyle=":", label="none")
    top = max(float(benefit.max()), 0.05)
    axes.set_ylim(-0.2 * top, 1.1 * top)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"threshold on p({visible(graded.classes[1])})")
    axes.set_ylabel("net benefit per slide")
    axes.legend(frameon=False, fontsize=8)


FIGURES: dict[str, Drawing] = {
    "roc": roc,
    "precision-recall": precision_recall,
    "confusion": confusion,
    "reliability": reliability_diagram,
}
OF_TWO_CLASSES: dict[str, Drawing] = {"decision-curve": net_benefit}


def draw(drawing: Drawing, graded: Graded) -> Figure:
    """The figure, on axes of its own."""
    figure = Figure(figsize=(SIDE_INCHES, SIDE_INCHES), layout="constrained")
    axes = figure.add_subplot()
    drawing(axes, graded)
    return figure


def save(figure: Figure, path: Path) -> str:
    """Write the figure as PATH.svg and PATH.png; the SVG, to be put into a page."""
    figure.savefig(path.with_name(f"{path.name}.png"), dpi=DPI)
    text = _svg_file(figure)
    path.with_name(f"{path.name}.svg").write_text(text, encoding="utf-8")
    return _element(text)


def svg(figure: Figure) -> str:
    """The figure as an element of a page."""
    return _element(_svg_file(figure))


def _svg_file(figure: Figure) -> str:
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _element(file: str) -> str:
    return file[file.index("<svg") :]


def _one_against_rest(graded: Graded) -> list[tuple[str, np.ndarray, np.ndarray]]:
    targets, p = graded.predicted.targets, graded.predicted.probabilities
    chosen = range(1, 2) if len(graded.classes) == 2 else range(len(graded.classes))
    return [(visible(graded.classes[c]), targets == c, p[:, c]) for c in chosen]


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
