"""`evaluate`: how good predictions are, for whom, and against which others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Json
from .output import note, say, show_json, show_table

if TYPE_CHECKING:
    from ..mil.evaluation import EvaluationSpec
    from ..mil.graded import Graded
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
    from ..mil.graded import read_graded

    spec = EvaluationSpec(resamples, seed, min_group)
    graded = read_graded(predictions, labels)
    other = (against, read_graded(against, labels)) if against else None
    found = _evaluated(predictions, graded, by or [], other, spec)
    if out is not None:
        _write(out, graded, found, spec)
    if json:
        show_json(_document(found))
        return
    _show(found)
    if out is not None:
        say(f"{out}: {PAGE}, {TABLE} and the figures as SVG and PNG.")


def _evaluated(
    name: Path, graded: Graded, by: list[str], other: tuple[Path, Graded] | None, spec: EvaluationSpec
) -> Evaluation:
    from ..mil.evaluation import compare, evaluate_graded, groups_of
    from ..report.evaluation_page import Evaluation

    return Evaluation(
        name=name.name,
        slides=len(graded.slides),
        patients=len(set(graded.predicted.patients)),
        classes=graded.classes,
        estimates=evaluate_graded(graded, spec),
        groups={column: groups_of(graded, column, spec) for column in by},
        against=(other[0].name, compare(graded, other[1], spec)) if other else None,
        left_out=(len(graded.without_truth), len(graded.without_prediction)),
    )


def _write(out: Path, graded: Graded, found: Evaluation, spec: EvaluationSpec) -> None:
    from json import dumps

    from ..report.evaluation_page import evaluation_page
    from ..report.figures import FIGURES, OF_TWO_CLASSES, draw, save

    out.mkdir(parents=True, exist_ok=True)
    wanted = FIGURES | (OF_TWO_CLASSES if len(graded.classes) == 2 else {})
    figures = {name: save(draw(drawing, graded), out / name) for name, drawing in wanted.items()}
    (out / PAGE).write_text(evaluation_page(found, figures, spec.min_group), encoding="utf-8")
    document = dumps(_document(found) | {"evaluation": spec.to_dict()}, indent=2, allow_nan=False)
    (out / TABLE).write_text(document + "\n", encoding="utf-8")


def _document(found: Evaluation) -> dict[str, Any]:
    from ..mil.evaluation import gaps

    document: dict[str, Any] = {
        "predictions": found.name,
        "slides": found.slides,
        "patients": found.patients,
        "classes": list(found.classes),
        "without_label": found.left_out[0],
        "without_prediction": found.left_out[1],
        "metrics": {name: estimate.to_dict() for name, estimate in found.estimates.items()},
        "groups": {
            column: {"gaps": gaps(groups), "groups": [_group(group) for group in groups]}
            for column, groups in found.groups.items()
        },
    }
    if found.against:
        name, differences = found.against
        document["against"] = {name: {key: value.to_dict() for key, value in differences.items()}}
    return document


def _group(group: Any) -> dict[str, Any]:
    estimates = {name: estimate.to_dict() for name, estimate in group.estimates.items()}
    return {
        "value": group.value,
        "slides": group.slides,
        "patients": group.patients,
        "metrics": estimates or None,
    }


def _show(found: Evaluation) -> None:
    from ..report.evaluation_page import difference_text
    from ..report.tables import estimate_text

    if any(found.left_out):
        note(
            f"{found.left_out[0]} predicted slides have no label, {found.left_out[1]} labelled no prediction."
        )
    title = f"{found.slides} slides of {found.patients} patients"
    shown = [(name.replace("_", " "), estimate_text(e)) for name, e in found.estimates.items()]
    show_table(title, ("metric", "value (95 % interval over patients)"), shown)
    for column, groups in found.groups.items():
        names = list(next((g.estimates for g in groups if g.estimates), {}))[:3]
        rows = [
            (
                g.value,
                g.slides,
                g.patients,
                *(estimate_text(g.estimates[n]) if g.estimates else "too few" for n in names),
            )
            for g in groups
        ]
        show_table(
            f"by {column}", (column, "slides", "patients", *(n.replace("_", " ") for n in names)), rows
        )
    if found.against:
        name, differences = found.against
        rows = [(key.replace("_", " "), difference_text(value)) for key, value in differences.items()]
        show_table(f"less those of {name}", ("metric", "difference"), rows)
