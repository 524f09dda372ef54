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


RISK_NOTE = (
    "<p class='note'>Patients are parted at the median of their predicted risk, and at its thirds; in "
    "brackets events and patients. The log-rank p is fair where no head had seen the patients.</p>\n"
)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation has found.

    Attributes:
        name: of the target.
        slides, patients: how many were evaluated.
        asked: its kind, in words, with its classes or labels.
        classes: names, in order; none of another target.
        estimates: every metric.
        groups: by column, its groups.
        against: the name of other predictions, and the differences from them.
        log_rank: p that groups by predicted risk are alike, by the number of groups; of survival only.
        left_out: slides without a label, and without a prediction.
    """

    name: str
    slides: int
    patients: int
    asked: str
    classes: tuple[str, ...]
    estimates: Mapping[str, Estimate]
    groups: Mapping[str, Sequence[Group]] = field(default_factory=dict)
    against: tuple[str, Mapping[str, Difference]] | None = None
    log_rank: Mapping[int, float] = field(default_factory=dict)
    left_out: tuple[int, int] = (0, 0)


Shown = tuple[Evaluation, Mapping[str, str]]
"""What was found of a target, and its figures: SVG by name."""


def evaluation_page(name: str, shown: Sequence[Shown], least: int) -> str:
    """The page.

    Args:
        name: of what was evaluated.
        shown: every target.
        least: patients that a group needs.
    """
    parts = [
        HEAD,
        f"<h1>{_text(name)}</h1>\n",
        "<p class='note'>In brackets 95 % intervals: the bootstrap draws patients, not slides.</p>\n",
        *(_of_target(found, figures, least) for found, figures in shown),
        "<p class='note'>Not a medical device. For research use.</p>\n</html>\n",
    ]
    return "".join(parts)


def _of_target(found: Evaluation, figures: Mapping[str, str], least: int) -> str:
    unlabelled, unpredicted = found.left_out
    pictures = [
        f"<figure>{svg}<figcaption>{_text(_named(n))}</figcaption></figure>\n" for n, svg in figures.items()
    ]
    parts = [
        f"<h2>{_text(found.name)}</h2>\n<p>{found.slides} slides of {found.patients} patients; "
        f"{_text(found.asked)}.",
        f" {unlabelled} predicted slides have no label, {unpredicted} labelled ones no prediction.</p>\n",
        _table(("metric", "value"), [(_named(n), estimate_text(e)) for n, e in found.estimates.items()]),
        *pictures,
        RISK_NOTE if found.log_rank else "",
        *(_groups(column, groups, least) for column, groups in found.groups.items()),
        _against(*found.against) if found.against else "",
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
            *(estimate_text(g.estimates[n]) if n in g.estimates else "" for n in names),
        )
        for g in groups
    ]
    if widest := gaps(groups):
        rows.append(
            ("largest gap", "", "", *(f"{widest[name]:.3f}" if name in widest else "" for name in names))
        )
    note = (
        f"<p class='note'>Groups of fewer than {least} patients, or without what the metrics need, such as "
        "every class, have none.</p>\n"
    )
    header = ("group", "slides", "patients", *map(_named, names))
    return f"<h3>By {_text(column)}</h3>\n{note}{_table(header, rows)}"


def _against(name: str, differences: Mapping[str, Difference]) -> str:
    rows = [(_named(metric), difference_text(d)) for metric, d in differences.items()]
    return f"<h3>Less those of {_text(name)}</h3>\n{_table(('metric', 'difference'), rows)}"


def _table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line("th", header), *(_line("td", row) for row in rows)]
    return "<table>\n" + "".join(lines) + "</table>\n"


def _line(cell: str, texts: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{_text(text)}</{cell}>" for text in texts) + "</tr>\n"


def _named(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _text(text: str) -> str:
    return html.escape(visible(text))
