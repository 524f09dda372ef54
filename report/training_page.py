"""The page of a training run: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .curves import loss_curves
from .figures import FIGURES, OF_TWO_CLASSES, draw, svg
from .tables import NOT_A_DEVICE, escaped, estimate_text, figure, head, named, table
from .training_run import MODELS, TrainingRun, best_epoch, read_training_run, warnings_of

PAGE = "report.html"
SHOWN = ("auroc", "auprc", "balanced_accuracy", "quadratic_kappa", "brier")
"""Metrics of folds and sites; metrics.json has the others."""

NAMED = 5


def write_training_page(head_dir: Path) -> Path:
    """Write report.html into a head folder, from what the folder holds.

    Raises:
        StoreIncomplete: the folder does not hold a whole training run.
    """
    path = head_dir / PAGE
    path.write_text(training_page(read_training_run(head_dir)), encoding="utf-8")
    return path


def training_page(run: TrainingRun) -> str:
    """The page."""
    drawings = FIGURES | (OF_TWO_CLASSES if len(run.graded.classes) == 2 else {})
    warnings = list(warnings_of(run))
    parts = [
        head(f"Training of {run.name}"),
        f"<h1>Training of {escaped(run.name)}</h1>\n<p>{escaped(_summary(run))}</p>\n",
        *(f"<p class='warning'>{escaped(sentence)}</p>\n" for sentence in warnings),
        "<h2>Out of fold</h2>\n<p class='note'>Every slide is judged by heads that never saw its patient. ",
        "In brackets 95 % intervals: the bootstrap draws patients, not slides.</p>\n",
        _metrics(run),
        *(figure(svg(draw(drawing, run.graded)), named(name)) for name, drawing in drawings.items()),
        "<h2>Heads</h2>\n",
        _folds(run),
        _sites(run.metrics["sites"]),
        figure(svg(loss_curves(run.curves())), "loss; the dot marks the epoch that was kept", "wide"),
        f"<h2>Calibration</h2>\n{_calibration(run)}",
        f"<h2>Data</h2>\n{_data(run)}",
        f"<h2>Settings</h2>\n{table(('setting', 'value'), _settings(run.spec.to_dict()))}",
        NOT_A_DEVICE,
    ]
    return "".join(parts)


def _summary(run: TrainingRun) -> str:
    m, spec = run.metrics, run.spec
    return (
        f"{len(m['folds'])} heads ({spec.head}, task {spec.task}) from {m['slides']} slides of "
        f"{m['patients']} patients; classes {', '.join(run.graded.classes)}."
    )


def _metrics(run: TrainingRun) -> str:
    by_model = [run.estimates(model) for model in MODELS]
    rows = [(named(name), *(estimate_text(each[name]) for each in by_model)) for name in by_model[0]]
    return table(("metric", *MODELS.values()), rows)


def _folds(run: TrainingRun) -> str:
    rows, curves = [], run.curves()
    for number, fold in enumerate(run.metrics["folds"]):
        epochs = curves.get(number, [])
        kept = f"{best_epoch(epochs) + 1} of {len(epochs)}" if epochs else ""
        classes = ", ".join(f"{count} {name}" for name, count in fold["classes"].items())
        counts = (fold["train"], fold["validation"], fold["slides"])
        told = (str(number + 1), fold["held_out"], str(fold["repeat"] + 1), *map(str, counts))
        rows.append((*told, classes, kept, *_values(fold["metrics"])))
    header = ("head", "holds out", "repeat", "train", "validation", "held out", "classes held out")
    return table((*header, "epoch kept", *map(named, SHOWN)), rows)


def _sites(sites: list[dict[str, Any]]) -> str:
    if not sites:
        return ""
    rows = [
        (site["site"], str(site["slides"]), str(site["patients"]), *_values(site["metrics"]))
        for site in sites
    ]
    return "<h3>By site</h3>\n" + table(("site", "slides", "patients", *map(named, SHOWN)), rows)


def _values(metrics: Mapping[str, float | None]) -> Iterable[str]:
    return ("" if metrics[name] is None else f"{metrics[name]:.3f}" for name in SHOWN)


def _calibration(run: TrainingRun) -> str:
    before, after = run.estimates("head_uncalibrated"), run.estimates("head")
    *own, new = run.temperatures
    rows = [
        (named(name), estimate_text(before[name]), estimate_text(after[name]))
        for name in ("calibration_error", "brier")
    ]
    return (
        f"<p>Temperature {new:.3f} for new slides; {min(own):.3f} to {max(own):.3f} for those of the folds, "
        "each learned from other patients. Above 1 the heads were too sure.</p>\n"
        + table(("", "as the heads say", "calibrated"), rows)
    )


def _data(run: TrainingRun) -> str:
    encoder = run.contract["encoder"]
    targets = run.graded.predicted.targets.tolist()
    rows = [
        ("slides", str(run.metrics["slides"])),
        ("patients", str(run.metrics["patients"])),
        *((f"held out, {name}", str(targets.count(i))) for i, name in enumerate(run.graded.classes)),
        ("embeddings", f"{encoder['name']}, {encoder['dim']} numbers"),
        ("patches", _patches(run.contract)),
    ]
    for reason, slides in run.metrics["left_out"].items():
        more = f" and {len(slides) - NAMED} more" if len(slides) > NAMED else ""
        names = f": {', '.join(slides[:NAMED])}{more}" if slides else ""
        rows.append((f"left out, {named(reason)}", f"{len(slides)}{names}"))
    return table(("", ""), rows)


def _patches(contract: Mapping[str, Any]) -> str:
    if not contract["size_px"]:
        return "not known"
    return f"{contract['size_px']} px at {contract['spacing']:g} µm per px"


def _settings(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _settings(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return rows
