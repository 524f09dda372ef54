"""What `demo` does: draw, run, train, predict out of fold, compare attention with the planted focus."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..cohort.config import Execution
from ..cohort.inputs import find_inputs
from ..cohort.run import RunOrder, Summary, run_cohort
from ..cohort.synthetic import Cohort, synthesise
from ..cohort.synthetic_spec import CohortSpec
from ..errors import SlidestreamError
from ..features.layout import store_path
from ..features.store import open_store
from ..mil.predict import Prediction, predict_run
from ..mil.spec import TrainSpec
from ..mil.train import TrainReport, train
from ..report.agreement import region_auroc
from ..report.heatmap import draw_heatmap
from ..report.training_page import write_training_page
from .output import note, show_json, show_table
from .progress import RunProgress, TrainProgress
from .settings import resolve

FOLDS = 4


@dataclass(frozen=True)
class _Results:
    """What the demo found out.

    Attributes:
        report: of training.
        localisation: AUROC of attention against the planted focus, by slide of the high grade.
        patches, rate: how many patches were encoded by this call, and per second.
        seconds: wall time of everything.
    """

    report: TrainReport
    localisation: dict[str, float]
    patches: int
    rate: float
    seconds: float


def demonstrate(out: Path, spec: CohortSpec, json: bool) -> None:
    """Make or go on with a demo folder, and show what came of it."""
    start = time.perf_counter()
    cohort = synthesise(out, spec, _drawing)
    with RunProgress() as progress:
        summary = run_cohort(_order(cohort), progress)
        rate = progress.patches_per_second
    if summary.failures:
        first = summary.failures[0]
        raise SlidestreamError(f"The demo's own slide {first.slide_id} failed: {first.code}, {first.cause}")
    report = _train(cohort)
    localisation = _heatmaps(cohort)
    results = _Results(report, localisation, _patches(summary), rate, time.perf_counter() - start)
    if json:
        show_json(_document(out, results))
    else:
        _show(out, results)


def _drawing(done: int, total: int) -> None:
    note(f"drawing slides: {done} of {total}")


def _order(cohort: Cohort) -> RunOrder:
    found = find_inputs([cohort.folder / "slides"])
    return RunOrder(found.inputs, resolve(None, {}, []), cohort.folder / "run", Execution())


def _train(cohort: Cohort) -> TrainReport:
    head = cohort.folder / "head"
    shutil.rmtree(head, ignore_errors=True)
    with TrainProgress() as progress:
        report = train(cohort.folder / "run", cohort.labels, head, TrainSpec(folds=FOLDS), progress)
    write_training_page(head)
    return report


def _heatmaps(cohort: Cohort) -> dict[str, float]:
    """Draw every slide's out-of-fold attention; returns how well it finds the focus of high grades."""
    run, pictures = cohort.folder / "run", cohort.folder / "heatmaps"
    pictures.mkdir(exist_ok=True)
    rows = {row.slide: row for row in cohort.rows}
    found: dict[str, float] = {}
    for prediction in predict_run(cohort.folder / "head", run, out_of_fold=True):
        row = rows[prediction.slide]
        _draw(run, prediction, pictures / f"{row.slide}.png")
        if row.label == "high":
            score = _localisation(run, prediction, cohort.mask(row))
            found |= {row.slide: score} if score is not None else {}
    return found


def _draw(run: Path, prediction: Prediction, picture: Path) -> None:
    draw_heatmap(open_store(store_path(run, prediction.slide)), prediction, picture)


def _localisation(run: Path, prediction: Prediction, mask: Path) -> float | None:
    with Image.open(mask) as picture:
        focus = np.asarray(picture) > 127
    return region_auroc(open_store(store_path(run, prediction.slide)), prediction.attention, focus)


def _patches(summary: Summary) -> int:
    return sum(outcome.patches for outcome in summary.outcomes)


def _document(out: Path, results: _Results) -> dict[str, Any]:
    return {
        "folder": str(out),
        "metrics": results.report.metrics,
        "attention_auroc": results.localisation,
        "attention_auroc_mean": float(np.mean(list(results.localisation.values()))),
        "patches": results.patches,
        "patches_per_second": round(results.rate, 1),
        "seconds": round(results.seconds, 1),
    }


def _show(out: Path, results: _Results) -> None:
    metrics, found = results.report.metrics, list(results.localisation.values())
    auroc, probe = metrics["head"]["auroc"], metrics["linear_probe"]["auroc"]
    speed = f"{results.rate:.0f} patches/s" if results.patches else "all stores were up to date"
    show_table(
        "slidestream demo",
        ("what", "result"),
        [
            ("slides, patients", f"{metrics['slides']}, {metrics['patients']}"),
            ("out-of-fold AUROC of the grade", _interval(auroc)),
            ("  linear probe on mean embeddings", _interval(probe)),
            ("attention against the planted focus, AUROC", _range(found)),
            ("read, encoded and stored", f"{results.patches} patches, {speed}"),
            ("wall time", f"{results.seconds:.0f} s"),
            ("slides, focus masks, labels", f"{out}/slides, {out}/masks, {out}/labels.csv"),
            ("embeddings", f"{out}/run"),
            ("head, metrics, predictions", f"{out}/head"),
            ("heatmaps", f"{out}/heatmaps"),
        ],
    )


def _interval(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.3f} (95 % CI {estimate['low']:.3f} to {estimate['high']:.3f})"


def _range(scores: list[float]) -> str:
    return f"mean {np.mean(scores):.3f}, least {min(scores):.3f} over {len(scores)} high-grade slides"
