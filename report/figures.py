"""Figures of an evaluation: curves with matplotlib, as SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Sized
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..mil.calibration import reliability
from ..mil.decision import decide
from ..mil.evaluation import decision_curve
from ..mil.graded import Graded
from ..mil.judged import Labelled, Measured, Survived
from ..mil.metrics import Predicted, operating_points
from ..mil.risk_groups import risk_groups
from ..mil.survival_metrics import brier_over_time, kaplan_meier
from ..text import visible

SIDE_INCHES = 4.0
INCHES_PER_CLASS = 0.19
MOST_NAMED = 10
"""Classes or labels that a legend has room for."""

LONGEST = 28
"""Letters of a name."""

DPI = 150
INK, CHANCE = "#1f4e79", "#999999"
RISKS = {2: ("#1f4e79", "#b03a2e"), 3: ("#1f4e79", "#b9770e", "#b03a2e")}
"""From the least risk to the greatest."""
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "slidestream"}
"""Text stays text, and the same figure is the same bytes."""

Drawing = Callable[[Axes, Graded], None]


def roc(axes: Axes, graded: Graded) -> None:
    """Receiver operating characteristic, a curve per class against the rest."""
    curves = _one_against_rest(graded)
    for name, positive, score in curves:
        found, false = operating_points(positive, score)
        axes.plot(false, found, drawstyle="steps-post", label=name, linewidth=_width(curves))
    axes.plot([0, 1], [0, 1], color=CHANCE, linestyle=":")
    _square(axes, "1 - specificity", "sensitivity")


def precision_recall(axes: Axes, graded: Graded) -> None:
    """Precision over recall; dotted, the share of the class, which is chance."""
    curves = _one_against_rest(graded)
    for name, positive, score in curves:
        found, false = operating_points(positive, score)
        right, wrong = found[1:] * positive.sum(), false[1:] * (~positive).sum()
        (line,) = axes.plot(found[1:], right / (right + wrong), drawstyle="steps-pre", label=name)
        line.set_linewidth(_width(curves))
        if len(curves) <= MOST_NAMED:
            axes.axhline(positive.mean(), color=line.get_color(), linestyle=":", linewidth=0.8)
    _square(axes, "recall", "precision")


def confusion(axes: Axes, graded: Graded) -> None:
    """Slides by label (rows) and by the class they were given; of many classes the figure is larger."""
    p, classes = _of_classes(graded), len(graded.classes)
    given = decide(p.probabilities, p.ordered)
    counts = np.bincount(p.targets * classes + given, minlength=classes**2).reshape(classes, classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    many = classes > MOST_NAMED
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else "black"
        if count or not many:
            axes.text(column, row, str(count), ha="center", va="center", color=ink, size=7 if many else None)
    names = [_short(name) for name in graded.classes]
    turned = 90 if many else 30 if max(map(len, names)) > 6 else 0
    size = 7 if many else 10
    axes.set_xticks(
        range(classes), names, rotation=turned, ha="right" if turned == 30 else "center", size=size
    )
    axes.set_yticks(range(classes), names, size=size)
    axes.set_xlabel("graded as")
    axes.set_ylabel("label")


def reliability_diagram(axes: Axes, graded: Graded) -> None:
    """How often the given class was right, over how sure it was; the size of a dot is its slides."""
    p = _of_classes(graded)
    found = reliability(p.targets, p.probabilities)
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
    axes.set_xlabel(f"threshold on p({_short(graded.classes[1])})")
    axes.set_ylabel("net benefit per slide")
    axes.legend(frameon=False, fontsize=8)


def scatter(axes: Axes, graded: Graded) -> None:
    """What was predicted over what is true."""
    p = graded.predicted
    assert isinstance(p, Measured)
    ends = [min(p.truth.min(), p.answers.min()), max(p.truth.max(), p.answers.max())]
    axes.plot(ends, ends, color=CHANCE, linestyle=":")
    axes.scatter(p.truth, p.answers, s=12, color=INK, alpha=0.5, linewidths=0)
    axes.set_aspect("equal")
    axes.set_xlabel(f"{_short(graded.outcome.target.name)}, true")
    axes.set_ylabel("predicted")


def survival_by_risk(axes: Axes, graded: Graded, count: int) -> None:
    """Kaplan and Meier's share that has had no event, of patients parted by predicted risk."""
    p = graded.predicted
    assert isinstance(p, Survived)
    groups = risk_groups(p, count)
    for number, (name, colour) in enumerate(zip(groups.names, RISKS[count], strict=True)):
        own = groups.group == number
        if own.any():
            _kaplan_meier(axes, groups.times[own], groups.events[own], (name, colour))
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.set_xlabel(_short(graded.outcome.target.name))
    axes.set_ylabel(f"share without {_short(graded.outcome.target.more[0])}")
    axes.set_title(f"log-rank p = {groups.p:.2g}", fontsize=9)
    axes.legend(frameon=False, fontsize=8)


def errors_over_time(axes: Axes, graded: Graded) -> None:
    """Brier score over time; dotted, that of saying of everyone what is true of all."""
    p = graded.predicted
    assert isinstance(p, Survived)
    times, share = kaplan_meier(p.times, p.events)
    everyone = np.concatenate([[1.0], share])[np.searchsorted(times, p.at, side="right")]
    for survival, colour, style, name in (
        (p.survival, INK, "-", "by prediction"),
        (np.broadcast_to(everyone, p.survival.shape), CHANCE, ":", "everyone alike"),
    ):
        scores = brier_over_time(p.times, p.events, survival, p.at)
        axes.plot(p.at, scores, color=colour, linestyle=style, marker=".", label=name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_short(graded.outcome.target.name))
    axes.set_ylabel("Brier score")
    axes.legend(frameon=False, fontsize=8)


OF_CLASSES: dict[str, Drawing] = {
    "roc": roc,
    "precision-recall": precision_recall,
    "confusion": confusion,
    "reliability": reliability_diagram,
}
OF_TWO_CLASSES: dict[str, Drawing] = {"decision-curve": net_benefit}
OF_LABELS: dict[str, Drawing] = {"roc": roc, "precision-recall": precision_recall}
OF_NUMBERS: dict[str, Drawing] = {"scatter": scatter}
OF_SURVIVAL: dict[str, Drawing] = {
    "kaplan-meier": partial(survival_by_risk, count=2),
    "kaplan-meier-thirds": partial(survival_by_risk, count=3),
    "brier": errors_over_time,
}


def figures_of(graded: Graded) -> dict[str, Drawing]:
    """The figures of a target, by name."""
    if graded.classes and graded.predicted.kinds < 2:
        return {name: OF_CLASSES[name] for name in ("confusion", "reliability")}
    if graded.classes:
        return OF_CLASSES | (OF_TWO_CLASSES if len(graded.classes) == 2 else {})
    if isinstance(graded.predicted, Labelled):
        return OF_LABELS
    return OF_SURVIVAL if isinstance(graded.predicted, Survived) else OF_NUMBERS


def draw(drawing: Drawing, graded: Graded) -> Figure:
    """The figure, on axes of its own; larger where a row for each of many classes is to be read."""
    many = drawing is confusion and len(graded.classes) > MOST_NAMED
    side = 2.5 + INCHES_PER_CLASS * len(graded.classes) if many else SIDE_INCHES
    figure = Figure(figsize=(side, side), layout="constrained")
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


def _of_classes(graded: Graded) -> Predicted:
    assert isinstance(graded.predicted, Predicted)
    return graded.predicted


def _one_against_rest(graded: Graded) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, truth and score of each class or label; one that is always or never there has no curve."""
    if isinstance(graded.predicted, Labelled):
        p = graded.predicted
        columns = zip(p.names, p.truth.T, p.probabilities.T, strict=True)
        known = [(name, t[~np.isnan(t)] == 1, score[~np.isnan(t)]) for name, t, score in columns]
    else:
        targets, probabilities = _of_classes(graded).targets, _of_classes(graded).probabilities
        chosen = range(1, 2) if len(graded.classes) == 2 else range(len(graded.classes))
        known = [(graded.classes[c], targets == c, probabilities[:, c]) for c in chosen]
    return [(_short(name), yes, score) for name, yes, score in known if yes.any() and not yes.all()]


def _short(name: str) -> str:
    """A name as a figure shows it: dollars begin no formula, and an underscore hides no legend."""
    shown = visible(name) if len(visible(name)) <= LONGEST else f"{visible(name)[: LONGEST - 1]}…"
    return (" " if shown.startswith("_") else "") + shown.replace("$", r"\$")


def _width(curves: Sized) -> float:
    return 1.5 if len(curves) <= MOST_NAMED else 0.5


def _kaplan_meier(axes: Axes, times: np.ndarray, events: np.ndarray, style: tuple[str, str]) -> None:
    """The curve of one group, with a tick where a patient was seen last."""
    name, colour = style
    at, share = kaplan_meier(times, events)
    curve = np.concatenate([[1.0], share])
    label = f"{name} ({events.sum()} of {len(times)})"
    axes.plot(np.concatenate([[0.0], at]), curve, drawstyle="steps-post", color=colour, label=label)
    lost = np.unique(times[~events])
    heights = curve[np.searchsorted(at, lost, side="right")]
    axes.plot(lost, heights, "|", color=colour, markersize=5)


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if 0 < len(axes.get_legend_handles_labels()[0]) <= MOST_NAMED:
        axes.legend(frameon=False, fontsize=8)
