"""The page of a training run: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..mil.answers import prefix_of
from ..mil.graded import Graded
from ..mil.judged import Labelled, Survived
from ..mil.metrics import Predicted
from ..mil.spec import TrainSpec
from .captions import CAPTIONS
from .curves import loss_curves
from .figures import draw, figures_of, svg
from .tables import (
    MOST_LISTED,
    NOT_A_DEVICE,
    escaped,
    estimate_text,
    figure,
    head,
    listed,
    metric_name,
    named,
    table,
)
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
    warnings = list(warnings_of(run))
    parts = [
        head(f"Training of {run.name}"),
        f"<h1>Training of {escaped(run.name)}</h1>\n<p>{escaped(_summary(run))}</p>\n",
        *(f"<p class='warning'>{escaped(sentence)}</p>\n" for sentence in warnings),
        "<h2>Out of fold</h2>\n<p class='note'>Every slide is judged by heads that never saw its patient. ",
        "In brackets 95 % intervals: the bootstrap draws patients, not slides.</p>\n",
        _metrics(run),
        *(_pictures(prefix, graded) for prefix, graded in _prefixed(run)),
        "<h2>Heads</h2>\n",
        _folds(run),
        _sites(run),
        figure(svg(loss_curves(run.curves())), "loss; the dot marks the epoch that was kept"),
        f"<h2>Calibration</h2>\n{_calibration(run)}" if run.temperatures else "",
        f"<h2>Data</h2>\n{_data(run)}",
        f"<h2>Settings</h2>\n{table(('setting', 'value'), _settings(run.spec))}",
        NOT_A_DEVICE,
    ]
    return "".join(parts)


def _summary(run: TrainingRun) -> str:
    m = run.metrics
    told = "; ".join(map(_asked, run.graded))
    return (
        f"{len(m['folds'])} heads ({run.spec.head}) from {m['slides']} slides of {m['patients']} patients; "
        f"predicted: {told}."
    )


def _asked(graded: Graded) -> str:
    """A target, its kind, and its classes or labels."""
    target, names = graded.outcome.target, graded.outcome.names
    positive = f" (positive: {names[1]})" if len(graded.classes) == 2 else ""
    return f"{target.name}, {target.task}{': ' if names else ''}{listed(names)}{positive}"


def _pictures(prefix: str, graded: Graded) -> str:
    title = f"<h3>{escaped(graded.outcome.target.name)}</h3>\n" if prefix else ""
    drawn = (figure(svg(draw(drawing, graded)), CAPTIONS[n]) for n, drawing in figures_of(graded).items())
    return title + "".join(drawn)


def _prefixed(run: TrainingRun) -> list[tuple[str, Graded]]:
    """Every target, and what its metrics and figures begin with."""
    targets = [graded.outcome.target for graded in run.graded]
    return [(prefix_of(graded.outcome.target, targets), graded) for graded in run.graded]


def _shown(run: TrainingRun) -> list[str]:
    """The metrics of folds and sites that the page has room for."""
    return list(SHOWN) if "" in run.temperatures else run.main


def _metrics(run: TrainingRun) -> str:
    models = {model: said for model, said in MODELS.items() if model in run.metrics}
    by_model = [run.estimates(model) for model in models]
    rows = [
        (
            metric_name(name, run.prefix(name)),
            *(estimate_text(each[name]) if name in each else "" for each in by_model),
        )
        for name in by_model[0]
    ]
    return table(("metric", *models.values()), rows)


def _folds(run: TrainingRun) -> str:
    rows, curves = [], run.curves()
    for number, fold in enumerate(run.metrics["folds"]):
        epochs = curves.get(number, [])
        kept = f"{best_epoch(epochs) + 1} of {len(epochs)}" if epochs else ""
        classes = _of_classes(fold["classes"])
        counts = (fold["train"], fold["validation"], fold["slides"])
        told = (str(number + 1), fold["held_out"], str(fold["repeat"] + 1), *map(str, counts))
        rows.append((*told, classes, kept, *_values(fold["metrics"], _shown(run))))
    header = ("head", "holds out", "repeat", "train", "validation", "held out", "of these")
    return table((*header, "epoch kept", *_headings(run)), rows)


def _of_classes(counts: Mapping[str, int]) -> str:
    """How many slides are of each class; of many classes only how many of these there are."""
    there = {name: count for name, count in counts.items() if count}
    if len(counts) > MOST_LISTED:
        return f"{len(there)} of {len(counts)} classes"
    return ", ".join(f"{listed([name])}: {count}" for name, count in there.items())


def _headings(run: TrainingRun) -> list[str]:
    return [metric_name(name, run.prefix(name)) for name in _shown(run)]


def _sites(run: TrainingRun) -> str:
    if not run.metrics["sites"]:
        return ""
    rows = [
        (site["site"], str(site["slides"]), str(site["patients"]), *_values(site["metrics"], _shown(run)))
        for site in run.metrics["sites"]
    ]
    return "<h3>By site</h3>\n" + table(("site", "slides", "patients", *_headings(run)), rows)


def _values(metrics: Mapping[str, float | None], shown: Iterable[str]) -> Iterable[str]:
    found = (metrics.get(name) for name in shown)
    return ("" if value is None else f"{value:.3f}" for value in found)


def _calibration(run: TrainingRun) -> str:
    return "".join(_calibrated(run, prefix) for prefix in run.temperatures)


def _calibrated(run: TrainingRun, prefix: str) -> str:
    before, after = run.estimates("head_uncalibrated"), run.estimates("head")
    *own, new = run.temperatures[prefix]
    rows = [
        (metric_name(name, prefix), estimate_text(before[name]), estimate_text(after[name]))
        for name in (f"{prefix}calibration_error", f"{prefix}brier")
    ]
    begins = f"{escaped(prefix[:-1])}: temperature" if prefix else "Temperature"
    return (
        f"<p>{begins} {new:.3f} for new slides; {min(own):.3f} to {max(own):.3f} for those of the folds, "
        "each learned from other patients. Above 1 the heads were too sure.</p>\n"
        + table(("", "as the heads say", "calibrated"), rows)
    )


def _data(run: TrainingRun) -> str:
    encoder = run.contract["encoder"]
    counts = [row for prefix, graded in _prefixed(run) for row in _counts(prefix, graded)]
    rows = [
        ("slides", str(run.metrics["slides"])),
        ("patients", str(run.metrics["patients"])),
        *counts,
        ("embeddings", f"{encoder['name']}, {encoder['dim']} numbers"),
        ("patches", _patches(run.contract)),
    ]
    for reason, slides in run.metrics["left_out"].items():
        more = f" and {len(slides) - NAMED} more" if len(slides) > NAMED else ""
        names = f": {', '.join(slides[:NAMED])}{more}" if slides else ""
        rows.append((f"left out, {named(reason)}", f"{len(slides)}{names}"))
    return table(("", ""), rows)


def _counts(prefix: str, graded: Graded) -> list[tuple[str, str]]:
    """How many slides that were held out are of each class, or of how many a target is known."""
    p, name = graded.predicted, graded.outcome.target.name
    if isinstance(p, Predicted):
        begins = f"held out, {name}: " if prefix else "held out, "
        return [(f"{begins}{c}", str((p.targets == n).sum())) for n, c in enumerate(graded.classes)]
    if isinstance(p, Labelled):
        pairs = [(label, column[~np.isnan(column)]) for label, column in zip(p.names, p.truth.T, strict=True)]
        return [(f"held out, {label}", f"{(t == 1).sum():.0f} of {len(t)} known") for label, t in pairs]
    if isinstance(p, Survived):
        event = graded.outcome.target.more[0]
        return [(f"held out, {name} known", f"{len(p.times)}, {event} seen in {p.events.sum()}")]
    return [(f"held out, {name} known", str(len(graded.slides)))]


def _patches(contract: Mapping[str, Any]) -> str:
    if not contract["size_px"]:
        return "not known"
    return f"{contract['size_px']} px at {contract['spacing']:g} µm per px"


def _settings(spec: TrainSpec) -> list[tuple[str, str]]:
    """Every setting by its dotted name; targets as they are asked for."""
    values = spec.to_dict() | {"targets": [target.text for target in spec.targets]}
    if spec.targets:
        del values["task"]
    return [(name, _shown_value(value)) for name, value in _flat(values)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return listed(list(map(str, value))) or "none"
    return str(value) or "none"
