"""`train`: from the stores of a run folder to a head folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Json, RunFolder
from .output import note, say, show_json, show_table

Labels = Annotated[Path, typer.Option("--labels", metavar="CSV", help="Columns slide, patient, label.")]
HeadOut = Annotated[Path, typer.Option("-o", "--out", metavar="HEAD", help="The head folder to make.")]


def train(
    run: RunFolder,
    labels: Labels,
    out: HeadOut,
    head: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="mean, max, abmil, abmil-mb, clam-sb, clam-mb, dsmil, transmil, dtfd or alibi.",
        ),
    ] = "abmil",
    task: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="classes; or corn or link where labels are grades, numbers in order.",
        ),
    ] = "classes",
    folds: Annotated[int, typer.Option(help="Patient-grouped stratified folds.")] = 5,
    epochs: Annotated[int, typer.Option(help="Most passes over the training slides.")] = 60,
    seed: Annotated[int, typer.Option(help="Of splits, weights and sampling.")] = 0,
    imbalance: Annotated[
        str, typer.Option(metavar="NAME", help="For rare classes: weighted, focal, logit or none.")
    ] = "weighted",
    bag: Annotated[
        str, typer.Option(metavar="NAME", help="slide; or patient: all slides of a patient are one bag.")
    ] = "slide",
    cache_gb: Annotated[float, typer.Option(metavar="GB", help="Memory for bags kept between epochs.")] = 4.0,
    allow_duplicates: Annotated[
        bool, typer.Option("--allow-duplicates", help="Train although slides of two patients look the same.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a head with cross-validation by patient, and keep one head per fold."""
    from ..mil.spec import TrainSpec
    from ..mil.train import train as train_heads
    from .progress import TrainProgress

    spec = TrainSpec(
        head=head,
        task=task,
        imbalance=imbalance,
        bag=bag,
        folds=folds,
        epochs=epochs,
        seed=seed,
        cache_gb=cache_gb,
        allow_duplicates=allow_duplicates,
    )
    with TrainProgress(folds) as progress:
        report = train_heads(run, labels, out, spec, progress)
    if json:
        show_json({"head": str(out), "classes": list(report.classes), "metrics": report.metrics})
        return
    for reason, slides in report.metrics["left_out"].items():
        if slides:
            note(f"{len(slides)} slides left out, {reason.replace('_', ' ')}: {', '.join(slides[:5])}")
    show_table(
        f"out of fold, {report.metrics['slides']} slides of {report.metrics['patients']} patients",
        ("metric", spec.head, "linear probe on mean (baseline)"),
        [
            (name.replace("_", " "), _estimate(value), _estimate(report.metrics["linear_probe"][name]))
            for name, value in report.metrics["head"].items()
        ],
    )
    say(f"{out}: head.json, metrics.json, predictions.csv and one set of weights per fold.")


def _estimate(value: dict[str, Any]) -> str:
    low, high = value.get("low"), value.get("high")
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{value['value']:.3f}{interval}"
