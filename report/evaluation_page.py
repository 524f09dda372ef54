"""The page of an evaluation: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..mil.evaluation import Difference, Group, gaps
from ..mil.metrics import Estimate
from .tables import NOT_A_DEVICE, escaped, estimate_text, figure, head, named, table


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation has found.

    Attributes:
        name: of what was evaluated.
        slides, patients: how many were.
        classes: names, in order.
        estimates: every metric.
        groups: by column, its groups.
        against: the name of other predictions, and the differences from them.
        left_out: slides without a label, and without a prediction.
    """

    name: str
    slides: int
    patients: int
    classes: tuple[str, ...]
    estimates: Mapping[str, Estimate]
    groups: Mapping[str, Sequence[Group]] = field(default_factory=dict)
    against: tuple[str, Mapping[str, Difference]] | None = None
    left_out: tuple[int, int] = (0, 0)


def evaluation_page(found: Evaluation, figures: Mapping[str, str], least: int) -> str:
    """The page.

    Args:
        figures: SVG by name.
        least: patients that a group needs.
    """
    unlabelled, unpredicted = found.left_out
    parts = [
        head("Evaluation"),
        f"<h1>{escaped(found.name)}</h1>\n<p>{found.slides} slides of {found.patients} patients; "
        f"classes {escaped(', '.join(found.classes))}.",
        f" {unlabelled} predicted slides have no label, {unpredicted} labelled ones no prediction.</p>\n",
        "<p class='note'>In brackets 95 % intervals: the bootstrap draws patients, not slides.</p>\n",
        table(("metric", "value"), [(named(n), estimate_text(e)) for n, e in found.estimates.items()]),
        *(figure(svg, named(n)) for n, svg in figures.items()),
        *(_groups(column, groups, least) for column, groups in found.groups.items()),
        _against(*found.against) if found.against else "",
        NOT_A_DEVICE,
    ]
    return "".join(parts)


def difference_text(difference: Difference) -> str:
    """Difference, interval and p, as shown."""
    if difference.low is None or difference.high is None or difference.p is None:
        return f"{difference.value:+.3f}"
    return (
        f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}), p = {difference.p:.3g}"
    )


def _groups(column: str, groups: Sequence[Group], least: int) -> str:
    names = list(next((g.estimates for g in groups if g.estimates), {}))
    rows = [
        (
            g.value,
            str(g.slides),
            str(g.patients),
            *(estimate_text(g.estimates[n]) if g.estimates else "" for n in names),
        )
        for g in groups
    ]
    if widest := gaps(groups):
        rows.append(("largest gap", "", "", *(f"{widest[name]:.3f}" for name in names)))
    note = (
        f"<p class='note'>Groups with fewer than {least} patients, or without every class, have none.</p>\n"
    )
    header = ("group", "slides", "patients", *map(named, names))
    return f"<h2>By {escaped(column)}</h2>\n{note}{table(header, rows)}"


def _against(name: str, differences: Mapping[str, Difference]) -> str:
    rows = [(named(metric), difference_text(d)) for metric, d in differences.items()]
    return f"<h2>Less those of {escaped(name)}</h2>\n{table(('metric', 'difference'), rows)}"
