"""`evaluate`: how good predictions are, for whom, and against which others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from .options import Json
from .output import note, say, show_json, show_table

if TYPE_CHECKING:
    from ..mil.evaluation import EvaluationSpec, Group
    from ..mil.graded import Graded
    from ..mil.target import Target
    from ..report.evaluation_page import Evaluation

PAGE, TABLE = "report.html", "evaluation.json"


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            help="A head folder, for those out of fold, or a CSV of `predict`.",
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Columns slide, patient, label; others for --by. A head folder needs none."
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:TASK[:COLUMNS]]",
            help="What was predicted, as for train; may be repeated. Of a head folder all, or those named.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Also within each value of this column; may be repeated."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="PREDICTIONS", help="Others to compare with, slide by slide.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder for report.html and figures.")
    ] = None,
    resamples: Annotated[int, typer.Option(metavar="N", help="Of the bootstrap over patients.")] = 1000,
    min_group: Annotated[int, typer.Option(metavar="N", help="Fewest patients of a group.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    json: Json = False,
) -> None:
    """Say how good predictions are: metrics with intervals over patients, groups, figures, a report."""
    from ..mil.evaluation import EvaluationSpec
    from ..mil.graded import targets_of
    from ..mil.target import Target

    spec = EvaluationSpec(resamples, seed, min_group)
    targets = targets_of(predictions, [Target.parse(text) for text in target or ()])
    asked = _Asked(predictions, labels, by or [], against)
    found = [_evaluated(asked, one, spec) for one in targets]
    if out is not None:
        _write(out, asked, found, spec)
    if json:
        show_json(_documents([evaluation for _, evaluation in found], predictions))
        return
    for _, evaluation in found:
        _show(evaluation, len(found) > 1)
    if out is not None:
        say(f"{out}: {PAGE}, {TABLE} and the figures as SVG and PNG.")


@dataclass(frozen=True)
class _Asked:
    """What is to be evaluated, and how it is looked at."""

    predictions: Path
    labels: Path | None
    by: list[str]
    against: Path | None


def _evaluated(asked: _Asked, target: Target, spec: EvaluationSpec) -> tuple[Graded, Evaluation]:
    from ..mil.evaluation import compare, evaluate_graded, groups_of, lacking
    from ..mil.graded import read_graded
    from ..mil.judged import Survived
    from ..mil.risk_groups import NAMES, risk_groups
    from ..report.evaluation_page import Evaluation

    graded = read_graded(asked.predictions, asked.labels, target)
    other = read_graded(asked.against, asked.labels, target) if asked.against else None
    judged = graded.predicted
    return graded, Evaluation(
        name=target.name,
        slides=len(graded.slides),
        patients=len(set(judged.patients)),
        asked=_said(graded),
        classes=graded.classes,
        estimates=evaluate_graded(graded, spec),
        groups={column: groups_of(graded, column, spec) for column in asked.by},
        against=(asked.against.name, compare(graded, other, spec)) if asked.against and other else None,
        log_rank={n: risk_groups(judged, n).p for n in NAMES} if isinstance(judged, Survived) else {},
        left_out=(len(graded.without_truth), len(graded.without_prediction)),
        seen=graded.seen,
        lacking=lacking(graded),
        of_patients=graded.slides == tuple(judged.patients),
    )


def _said(graded: Graded) -> str:
    """The kind of the target, with its classes or labels."""
    from ..mil.judged import Survived
    from ..report.tables import listed

    if isinstance(graded.predicted, Survived):
        seen, event = graded.predicted.events.sum(), graded.outcome.target.more[0]
        return f"{graded.outcome.target.task}, {event} seen in {seen}"
    target, names = graded.outcome.target, graded.outcome.names
    kind = "classes" if target.has_classes else target.task
    positive = f", of which {names[1]} is the positive one" if len(graded.classes) == 2 else ""
    return f"{kind} {listed(names)}{positive}" if names else kind


def _write(out: Path, asked: _Asked, found: list[tuple[Graded, Evaluation]], spec: EvaluationSpec) -> None:
    from json import dumps

    from ..report.captions import CAPTIONS
    from ..report.evaluation_page import evaluation_page
    from ..report.figures import draw, figures_of, save

    out.mkdir(parents=True, exist_ok=True)
    shown = []
    for graded, evaluation in found:
        before = f"{quote(evaluation.name, safe='+ ')}-" if len(found) > 1 else ""
        drawings = figures_of(graded)
        for name in CAPTIONS.keys() - drawings.keys():  # of an earlier evaluation, which had more to show
            for suffix in (".svg", ".png"):
                (out / f"{before}{name}{suffix}").unlink(missing_ok=True)
        figures = {
            name: save(draw(drawing, graded), out / f"{before}{name}") for name, drawing in drawings.items()
        }
        shown.append((evaluation, figures))
    page = evaluation_page(asked.predictions.name, shown, spec.min_group)
    (out / PAGE).write_text(page, encoding="utf-8")
    document = _documents([evaluation for evaluation, _ in shown], asked.predictions)
    text = dumps(document | {"evaluation": spec.to_dict()}, indent=2, allow_nan=False)
    (out / TABLE).write_text(text + "\n", encoding="utf-8")


def _documents(found: list[Evaluation], predictions: Path) -> dict[str, Any]:
    """What was found of the one target or, by name, of several."""
    if len(found) == 1:
        return {"predictions": predictions.name, **_document(found[0])}
    return {"predictions": predictions.name, "targets": {one.name: _document(one) for one in found}}


def _document(found: Evaluation) -> dict[str, Any]:
    from ..mil.evaluation import gaps

    document: dict[str, Any] = {
        "target": found.name,
        "slides": found.slides,
        "patients": found.patients,
        "classes": list(found.classes),
        "without_label": found.left_out[0],
        "without_prediction": found.left_out[1],
        "seen": found.seen,
        "lacking": found.lacking,
        "metrics": {name: estimate.to_dict() for name, estimate in found.estimates.items()},
        "groups": {
            column: {"gaps": gaps(groups), "groups": [_group(group) for group in groups]}
            for column, groups in found.groups.items()
        },
    }
    if found.log_rank:
        document["log_rank"] = {f"{count} groups": p for count, p in found.log_rank.items()}
    if found.against:
        name, differences = found.against
        document["against"] = {name: {key: value.to_dict() for key, value in differences.items()}}
    return document


def _group(group: Group) -> dict[str, Any]:
    estimates = {name: estimate.to_dict() for name, estimate in group.estimates.items()}
    return {
        "value": group.value,
        "slides": group.slides,
        "patients": group.patients,
        "metrics": estimates or None,
    }


def _show(found: Evaluation, named: bool) -> None:
    from ..report.evaluation_page import difference_text
    from ..report.tables import estimate_text, metric_name

    before = f"{found.name}: " if named else ""
    for said in filter(None, (found.left_out_text, *found.warnings)):
        note(f"{before}{said}")
    title = f"{before}{found.judged}; {found.asked}"
    shown = [(metric_name(name), estimate_text(e)) for name, e in found.estimates.items()]
    show_table(title, ("metric", "value (95 % interval over patients)"), shown)
    for count, p in found.log_rank.items():
        say(f"{count} groups by predicted risk: log-rank p = {p:.3g}")
    for column, groups in found.groups.items():
        names = found.names_within(groups)[:3]
        rows = [
            (group.value, group.slides, group.patients, *(_cell(group, name) for name in names))
            for group in groups
        ]
        header = (column, "slides", "patients", *map(metric_name, names))
        show_table(f"{before}by {column}", header, rows)
    if found.against:
        name, differences = found.against
        rows = [(metric_name(key), difference_text(value)) for key, value in differences.items()]
        show_table(f"{before}less those of {name}", ("metric", "difference"), rows)


def _cell(group: Group, name: str) -> str:
    from ..report.tables import estimate_text

    if name in group.estimates:
        return estimate_text(group.estimates[name])
    return "not defined" if group.estimates else "too few patients"
