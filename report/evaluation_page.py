"""The page of an evaluation: one HTML file that needs no other."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..mil.evaluation import Difference, Group, gaps
from ..mil.metrics import Estimate
from ..text import visible

HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Evaluation</title>
<style>
body{font:14px sans-serif;margin:2em;color:#222;max-width:1400px}
table{border-collapse:collapse;margin:1em 0 2em}
th,td{padding:4px 12px;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}
figure{display:inline-block;margin:0 1em 1em 0}
svg{width:320px;height:auto}
.note{color:#666}
</style>
"""


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
        HEAD,
        f"<h1>{_text(found.name)}</h1>\n<p>{found.slides} slides of {found.patients} patients; "
        f"classes {_text(', '.join(found.classes))}.",
        f" {unlabelled} predicted slides have no label, {unpredicted} labelled ones no prediction.</p>\n",
        "<p class='note'>In brackets 95 % intervals: the bootstrap draws patients, not slides.</p>\n",
        _table(("metric", "value"), [(_named(n), estimate_text(e)) for n, e in found.estimates.items()]),
        *(
            f"<figure>{svg}<figcaption>{_text(_named(n))}</figcaption></figure>\n"
            for n, svg in figures.items()
        ),
        *(_groups(column, groups, least) for column, groups in found.groups.items()),
        _against(*found.against) if found.against else "",
        "<p class='note'>Not a medical device. For research use.</p>\n</html>\n",
    ]
    return "".join(parts)


def estimate_text(estimate: Estimate) -> str:
    """Value and interval, as shown."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


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
    header = ("group", "slides", "patients", *map(_named, names))
    return f"<h2>By {_text(column)}</h2>\n{note}{_table(header, rows)}"


def _against(name: str, differences: Mapping[str, Difference]) -> str:
    rows = [(_named(metric), difference_text(d)) for metric, d in differences.items()]
    return f"<h2>Less those of {_text(name)}</h2>\n{_table(('metric', 'difference'), rows)}"


def _table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line("th", header), *(_line("td", row) for row in rows)]
    return "<table>\n" + "".join(lines) + "</table>\n"


def _line(cell: str, texts: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{_text(text)}</{cell}>" for text in texts) + "</tr>\n"


def _named(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _text(text: str) -> str:
    return html.escape(visible(text))
