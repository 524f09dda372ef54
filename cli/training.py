"""`train`: from the stores of a run folder to a head folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Json, RunFolder
from .output import note, say, show_json, show_table

if TYPE_CHECKING:
    from ..mil.fit import EpochReport, Progress

Labels = Annotated[
    Path,
    typer.Option("--labels", metavar="CSV", help="Columns slide, patient, and label or those of --target."),
]
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
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:TASK[:COLUMNS]]",
            help="A column to predict in the place of label; may be repeated, cells may be empty. TASK is "
            "classes, corn, link, regression, labels (er+pr:labels), cox or hazard (time:cox:event).",
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Patient-grouped stratified folds.")] = 5,
    repeats: Annotated[
        int, typer.Option(metavar="R", help="Divide into folds so often, each time anew: R heads per fold.")
    ] = 1,
    splits: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Your own: columns fold and slide or patient; or train, val and test, or a folder of such "
            "files, splits_0.csv and so on.",
        ),
    ] = None,
    leave_out: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="Hold out each value of this column once, such as the site."),
    ] = "",
    keep_together: Annotated[
        str, typer.Option(metavar="COLUMN", help="No value of this column, such as the site, in two folds.")
    ] = "",
    covariates: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="The head also takes this column of the labels; may be repeated."
        ),
    ] = None,
    fusion: Annotated[
        str, typer.Option(metavar="NAME", help="Where covariates join: late or intermediate.")
    ] = "late",
    epochs: Annotated[int, typer.Option(help="Most passes over the training slides.")] = 60,
    seed: Annotated[int, typer.Option(help="Of splits, weights and sampling.")] = 0,
    imbalance: Annotated[
        str, typer.Option(metavar="NAME", help="For rare classes: weighted, sampled, focal, logit or none.")
    ] = "weighted",
    bag: Annotated[
        str, typer.Option(metavar="NAME", help="slide; or patient: all slides of a patient are one bag.")
    ] = "slide",
    warm_up: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the epochs, in which the learning rate rises.")
    ] = 0.05,
    drop_patches: Annotated[
        float, typer.Option(metavar="SHARE", help="Of a slide's patches, left out anew in every step.")
    ] = 0.0,
    mixup: Annotated[bool, typer.Option("--mixup", help="Mix slides in half of the steps.")] = False,
    jobs: Annotated[
        int, typer.Option(metavar="N", help="Folds trained at once, to the same weights as one by one.")
    ] = 1,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Losses for TensorBoard (extra: tensorboard).")
    ] = None,
    cache_gb: Annotated[float, typer.Option(metavar="GB", help="Memory for bags kept between epochs.")] = 4.0,
    allow_duplicates: Annotated[
        bool, typer.Option("--allow-duplicates", help="Train although slides of two patients look the same.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a head with cross-validation by patient, and keep one head per fold."""
    from ..mil.pages import ask_for_large_pages

    ask_for_large_pages()
    from ..mil.spec import SplitSpec, TrainSpec
    from ..mil.target import Target
    from ..mil.train import train as train_heads
    from ..report.training_page import write_training_page

    spec = TrainSpec(
        head=head,
        task=task,
        targets=tuple(map(Target.parse, target or ())),
        imbalance=imbalance,
        bag=bag,
        folds=folds,
        split=SplitSpec(repeats, str(splits or ""), leave_out, keep_together),
        covariates=tuple(covariates or ()),
        fusion=fusion,
        epochs=epochs,
        seed=seed,
        warm_up=warm_up,
        drop_patches=drop_patches,
        mixup=mixup,
        jobs=jobs,
        cache_gb=cache_gb,
        allow_duplicates=allow_duplicates,
    )
    with _told(tensorboard) as progress:
        report = train_heads(run, labels, out, spec, progress)
    write_training_page(out)
    if json:
        targets = [outcome.to_dict() for outcome in report.outcomes]
        told = {"head": str(out), "classes": list(report.classes), "targets": targets}
        show_json(told | {"metrics": report.metrics})
        return
    for reason, slides in report.metrics["left_out"].items():
        if slides:
            note(f"{len(slides)} slides left out, {reason.replace('_', ' ')}: {', '.join(slides[:5])}")
    show_table(
        f"out of fold, {report.metrics['slides']} slides of {report.metrics['patients']} patients",
        ("metric", spec.head, "linear probe on mean (baseline)"),
        [
            (name.replace("_", " "), _estimate(value), _estimate(report.metrics["linear_probe"].get(name)))
            for name, value in report.metrics["head"].items()
        ],
    )
    say(f"{out}: report.html, metrics.json, predictions.csv, history.jsonl and a set of weights per fold.")


@contextmanager
def _told(tensorboard: Path | None) -> Iterator[Progress]:
    """What is told of every epoch."""
    from .progress import TrainProgress

    with ExitStack() as stack:
        told: list[Progress] = []
        if tensorboard:
            from ..mil.tensorboard import TensorBoardLog

            told.append(stack.enter_context(TensorBoardLog(tensorboard)))
        told.append(stack.enter_context(TrainProgress()))

        def tell(report: EpochReport) -> None:
            for one in told:
                one(report)

        yield tell


def _estimate(value: dict[str, Any] | None) -> str:
    if value is None:
        return ""
    low, high = value.get("low"), value.get("high")
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{value['value']:.3f}{interval}"
