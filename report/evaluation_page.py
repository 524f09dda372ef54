"""The page of an evaluation: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..mil.evaluation import Difference, Group, gaps
from ..mil.metrics import Estimate
from .captions import CAPTIONS
from .tables import (
    NOT_A_DEVICE,
    escaped,
    estimate_text,
    figure,
    head,
    metric_name,
    table,
    two_lines,
)

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
        classes: names, in order, the second of two the positive one; none of another target.
        estimates: every metric.
        groups: by column, its groups.
        against: the name of other predictions, and the differences from them.
        log_rank: p that groups by predicted risk are alike, by the number of groups; of survival only.
        left_out: slides without a label, and without a prediction.
        seen: slides that the heads which were asked had been trained on.
        lacking: why some metrics are not defined; empty where all are.
        of_patients: whether each of the slides stands for all of a patient.
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
    seen: int = 0
    lacking: str = ""
    of_patients: bool = False

    @property
    def judged(self) -> str:
        """How many slides and patients; where patients were graded, only these."""
        slides = "" if self.of_patients else f"{self.slides} slides of "
        return f"{slides}{self.patients} patients"

    @property
    def warnings(self) -> list[str]:
        """Why numbers are too good, or missing."""
        found = [self.lacking] if self.lacking else []
        if self.seen:
            found.append(
                f"The heads were trained on {self.seen} of these {self.slides} slides: the numbers say "
                "little. Predict with --out-of-fold."
            )
        return found

    def names_within(self, groups: Sequence[Group]) -> list[str]:
        """The metrics that any of the groups has, in their usual order."""
        return [name for name in self.estimates if any(name in group.estimates for group in groups)]

    @property
    def left_out_text(self) -> str:
        """How many slides could not be judged; empty where all could."""
        unlabelled, unpredicted = self.left_out
        if not unlabelled and not unpredicted:
            return ""
        return f"{unlabelled} predicted slides have no label, {unpredicted} labelled no prediction."


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
        head("Evaluation"),
        f"<h1>Evaluation of {escaped(name)}</h1>\n",
        "<p class='note'>In brackets 95 % intervals: the bootstrap draws patients, not slides.</p>\n",
        *(_of_target(found, figures, least) for found, figures in shown),
        NOT_A_DEVICE,
    ]
    return "".join(parts)


def _of_target(found: Evaluation, figures: Mapping[str, str], least: int) -> str:
    parts = [
        f"<h2>{escaped(found.name)}</h2>\n<p>{found.judged}; {escaped(found.asked)}. "
        f"{escaped(found.left_out_text)}</p>\n",
        *(f"<p class='warning'>{escaped(warning)}</p>\n" for warning in found.warnings),
        table(("metric", "value"), [(metric_name(n), estimate_text(e)) for n, e in found.estimates.items()]),
        *(figure(svg, CAPTIONS[n]) for n, svg in figures.items()),
        RISK_NOTE if found.log_rank else "",
        *(_groups(found, column, least) for column in found.groups),
        _against(*found.against) if found.against else "",
    ]
    return "".join(parts)


def difference_text(difference: Difference) -> str:
    """Difference, interval and p, as shown."""
    if difference.low is None or difference.high is None or difference.p is None:
        return f"{difference.value:+.3f}"
    return (
        f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}), p = {difference.p:.3g}"
    )


def _groups(found: Evaluation, column: str, least: int) -> str:
    groups = found.groups[column]
    names = found.names_within(groups)
    rows = [
        (
            g.value,
            str(g.slides),
            str(g.patients),
            *(two_lines(g.estimates[n]) if n in g.estimates else "" for n in names),
        )
        for g in groups
    ]
    if widest := gaps(groups):
        rows.append(
            ("largest gap", "", "", *(f"{widest[name]:.3f}" if name in widest else "" for name in names))
        )
    note = (
        f"<p class='note'>Groups of fewer than {least} patients are not judged; a metric is missing where a "
        "group lacks what it needs, as AUROC every class.</p>\n"
    )
    header = ("group", "slides", "patients", *map(metric_name, names))
    return f"<h3>By {escaped(column)}</h3>\n{note}{table(header, rows)}"


def _against(name: str, differences: Mapping[str, Difference]) -> str:
    rows = [(metric_name(metric), difference_text(d)) for metric, d in differences.items()]
    return f"<h3>Less those of {escaped(name)}</h3>\n{table(('metric', 'difference'), rows)}"
