"""`predict` and `heatmap`: what a head says of slides, and where it looked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, StoreError, UsageError
from ..table import write_table
from ..text import visible
from .options import Covariates, HeadFolder, Json, OutOfFold, RunFolder
from .output import note, say, show_json, show_table
from .rows import More, brief, called_by, row_of, sets_of

if TYPE_CHECKING:
    from ..mil.ensemble import Ensemble
    from ..mil.predict import Prediction

UNFAMILIAR = 0.05


def predict(
    run: RunFolder,
    head: HeadFolder,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="CSV", help="Where to write them.")
    ] = None,
    out_of_fold: OutOfFold = False,
    error_rate: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Also give sets of classes, and ranges of numbers, that miss the truth so often.",
        ),
    ] = None,
    score: Annotated[
        str,
        typer.Option("--set-score", metavar="NAME", help="lac, aps or ordinal; by default as the head."),
    ] = "",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Keep the error rate within every class.")
    ] = False,
    largest: Annotated[
        int, typer.Option("--largest-set", metavar="N", help="Abstain where a set holds more classes.")
    ] = 1,
    sensitivity: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Also call slides positive so that this share of the positives is found."
        ),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Columns slide, patient: one grade per patient, not per slide."),
    ] = None,
    covariates: Covariates = None,
    json: Json = False,
) -> None:
    """Grade every slide of a run folder; refused where its embeddings are not the head's."""
    _require_run(run)
    failures: list[tuple[str, InputError | StoreError]] = []
    more = _more(head, (error_rate, score, per_class, largest), sensitivity)
    # Row by row: a cohort's attention does not fit into memory.
    said: Iterable[Ensemble] = (
        _of_patients(run, head, (patients, out_of_fold, covariates), failures)
        if patients
        else _predictions(run, head, (out_of_fold, covariates), failures)
    )
    rows = [row_of(one) | {key: v for add in more for key, v in add(one).items()} for one in said]
    _warn(rows)
    if not patients:
        _warn_of_patients(head)
    if out is not None:
        write_table(out, list(rows[0]) if rows else ["slide"], [list(row.values()) for row in rows])
    if json:
        show_json({"run": str(run), "head": str(head), "predictions": rows, "failures": _failed(failures)})
    elif rows:
        _show(f"{len(rows)} {'patients' if patients else 'slides'} graded by {head}", rows)
    _end(failures)


def _more(head: Path, sets: tuple[float | None, str, bool, int], sensitivity: float | None) -> list[More]:
    """The columns besides the answers: of sets, with their error rate first, and of a threshold."""
    error_rate, score, per_class, largest = sets
    if error_rate is None and (score or per_class or largest != 1):
        raise UsageError(
            "--set-score, --per-class and --largest-set are about sets of classes.", "Add --error-rate 0.1."
        )
    found = [] if error_rate is None else [sets_of(head, error_rate, score, (per_class, largest))]
    return found if sensitivity is None else [*found, called_by(head, sensitivity)]


def _show(title: str, rows: list[dict[str, Any]]) -> None:
    columns = brief(list(rows[0]))
    show_table(title, columns, [[_shown(row[name]) for name in columns] for row in rows])
    if len(columns) < len(rows[0]):
        note("-o CSV and --json give the other columns too.")


def heatmap(
    run: RunFolder,
    head: HeadFolder,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the pictures.")],
    slide: Annotated[
        list[str] | None, typer.Option("--slide", metavar="ID", help="Only this slide; may be repeated.")
    ] = None,
    out_of_fold: OutOfFold = False,
    explain: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="What is shown: attention; perturbation, what is lost without a patch; single, what a "
            "patch says alone; or gradients, integrated.",
        ),
    ] = "attention",
    covariates: Covariates = None,
    json: Json = False,
) -> None:
    """Draw where the head looked, one PNG per slide, from the stores alone, and test how far it tells."""
    from ..mil.explain import require_method

    require_method(explain)
    _require_run(run)
    failures: list[tuple[str, InputError | StoreError]] = []
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for prediction in _predictions(run, head, (out_of_fold, covariates), failures, slide or []):
        try:
            rows.append(_drawn(run, (head, covariates), prediction, explain, out))
        except InputError as error:
            failures.append((prediction.slide, error))
    if json:
        pictures = [row["picture"] for row in rows]
        show_json({"pictures": pictures, "method": explain, "slides": rows, "failures": _failed(failures)})
    else:
        say(f"{len(rows)} pictures in {out}.")
    _end(failures)


def _drawn(
    run: Path, head: tuple[Path, Path | None], prediction: Prediction, method: str, out: Path
) -> dict[str, Any]:
    """Draw one slide: its id, the picture's path and the faithfulness of what it shows."""
    from ..features.layout import store_path
    from ..features.store import open_store
    from ..mil.artifact import load_head
    from ..mil.explain import explain
    from ..mil.predict import told_of
    from ..report.heatmap import draw_heatmap

    store = open_store(store_path(run, prediction.slide))
    picture = out / store_path(out, prediction.slide).with_suffix(".png").name
    explanation = explain(told_of(load_head(head[0]), head[1]), store, prediction, method)
    draw_heatmap(store, explanation, picture)
    note(f"{prediction.slide}: {picture}")
    score = explanation.flipping.score if explanation.flipping else None
    return {"slide": prediction.slide, "picture": str(picture), "faithfulness": score}


def _predictions(
    run: Path,
    head: Path,
    how: tuple[bool, Path | None],
    failures: list[tuple[str, InputError | StoreError]],
    only: Iterable[str] = (),
) -> Iterator[Prediction]:
    """Predictions of all slides, or of those named; slides that cannot be predicted are collected.

    Args:
        how: whether out of fold, and the table of covariates.
    """
    from ..features.layout import slide_id_of, store_path
    from ..features.store import open_store
    from ..mil.artifact import load_head
    from ..mil.predict import predict_run, predict_store, told_of

    (out_of_fold, covariates), chosen = how, list(only)
    if not chosen:

        def failed(path: Path, error: InputError | StoreError) -> None:
            failures.append((slide_id_of(path), error))

        yield from predict_run(head, run, out_of_fold, failed, covariates)
        return
    trained = told_of(load_head(head), covariates)
    for slide_id in chosen:
        yield predict_store(trained, open_store(store_path(run, slide_id)), out_of_fold)


def _of_patients(
    run: Path,
    head: Path,
    whose: tuple[Path, bool, Path | None],
    failures: list[tuple[str, InputError | StoreError]],
) -> Iterator[Ensemble]:
    from ..mil.by_patient import Patients, predict_patients
    from ..mil.graded import read_rows

    table, out_of_fold, covariates = whose
    rows = read_rows(table)
    if not all(row.get("patient") for row in rows.values()):
        raise UsageError(f"{table} does not name a patient for every slide.", "Fill the column patient.")
    patients = Patients({slide: row["patient"] for slide, row in rows.items()}, out_of_fold, covariates)
    yield from predict_patients(head, run, patients, lambda who, error: failures.append((who, error)))


def _warn(rows: list[dict[str, Any]]) -> None:
    """Say which grades deserve less trust than they seem to."""
    seen = sum(row["seen"] == "yes" for row in rows)
    if seen:
        note(f"{seen} of {len(rows)} were trained on: their grades say little. --out-of-fold asks others.")
    odd = [row for row in rows if row["familiarity"] is not None and row["familiarity"] <= UNFAMILIAR]
    if odd:
        named = ", ".join(visible(next(iter(row.values()))) for row in odd[:5])
        note(
            f"{len(odd)} of {len(rows)} are unlike the training slides: {named}. Their familiarity is "
            f"{UNFAMILIAR:g} or less, as that of about {UNFAMILIAR:.0%} of slides like those is."
        )


def _warn_of_patients(head: Path) -> None:
    """Say that a slide alone is not what a head of patients was trained on."""
    from ..mil.artifact import load_head

    if load_head(head).spec.bag == "patient":
        note("This head was trained on all slides of a patient together: --patients CSV grades patients.")


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _require_run(run: Path) -> None:
    if not (run / "embeddings").is_dir():
        raise UsageError(f"{run} is not a run folder.", "Make one with `slidestream run INPUT -o RUN`.")


def _failed(failures: list[tuple[str, InputError | StoreError]]) -> list[dict[str, str]]:
    return [{"slide_id": s, "code": e.code, "cause": e.cause, "fix": e.fix} for s, e in failures]


def _end(failures: list[tuple[str, InputError | StoreError]]) -> None:
    for slide_id, error in failures:
        note(f"{slide_id}: {error}")
    if failures:
        sys.stderr.flush()
        raise typer.Exit(3)
