"""`train`: from the stores of a run folder to a head folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Device, Json
from .output import note, say, show_json, show_table

if TYPE_CHECKING:
    from ..mil.fit import EpochReport, Progress
    from ..mil.spec import TrainSpec
    from ..mil.train import TrainReport

_holding = partial(typer.Option, rich_help_panel="How slides are held out")
_learning = partial(typer.Option, rich_help_panel="How heads learn")

Bags = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run folder, or a folder of bags: npz, or h5 as TRIDENT, CLAM and STAMP write it, or AnnData.",
    ),
]
Labels = Annotated[
    Path,
    typer.Option("--labels", metavar="CSV", help="Columns slide, patient, and label or those of --target."),
]
HeadOut = Annotated[Path, typer.Option("-o", "--out", metavar="HEAD", help="The head folder to make.")]
HeadName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="mean, max, abmil, abmil-mb, clam-sb, clam-mb, dsmil, transmil, dtfd or alibi. [default: abmil]",
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="classes; or corn or link where labels are grades, numbers in order. [default: classes]",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:TASK[:COLUMNS]]",
        help="A column to predict in the place of label; may be repeated, cells may be empty. TASK is "
        "classes, corn, link, regression, labels (er+pr:labels), cox or hazard (time:cox:event).",
    ),
]
Covariates = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="The head also takes this column of the labels; may be repeated."),
]
Fusion = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Where covariates join: late or intermediate. [default: late]"),
]
BagKind = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="slide; or patient: all slides of a patient are one bag. [default: slide]"
    ),
]
Folds = Annotated[
    int | None,
    _holding(metavar="N", help="Patient-grouped stratified folds. [default: 5]"),
]
Repeats = Annotated[
    int | None,
    _holding(metavar="R", help="Divide into folds so often, each time anew: R heads per fold. [default: 1]"),
]
Splits = Annotated[
    Path | None,
    _holding(
        metavar="CSV",
        help="Your own: columns fold and slide or patient; or train, val and test, or a folder of such "
        "files, splits_0.csv and so on.",
    ),
]
LeaveOut = Annotated[
    str | None,
    _holding(metavar="COLUMN", help="Hold out each value of this column once, such as the site."),
]
KeepTogether = Annotated[
    str | None,
    _holding(metavar="COLUMN", help="No value of this column, such as the site, in two folds."),
]
Duplicates = Annotated[
    bool,
    _holding("--allow-duplicates", help="Train although slides of two patients look the same."),
]
Validation = Annotated[
    float | None,
    _holding(
        metavar="SHARE",
        help="Of the patients to learn from, set aside to stop by; 0: learn from all, for all epochs. "
        "[default: 0.2]",
    ),
]
Epochs = Annotated[
    int | None,
    _learning(metavar="N", help="Most passes over the training slides. [default: 60]"),
]
Rate = Annotated[
    float | None,
    _learning("--lr", metavar="RATE", help="Peak learning rate. [default: 0.001]"),
]
Seed = Annotated[
    int | None,
    _learning(metavar="N", help="Of splits, weights and sampling. [default: 0]"),
]
Imbalance = Annotated[
    str | None,
    _learning(
        metavar="NAME", help="For rare classes: weighted, sampled, focal, logit or none. [default: weighted]"
    ),
]
WarmUp = Annotated[
    float | None,
    _learning(metavar="SHARE", help="Of the epochs, in which the learning rate rises first. [default: 0]"),
]
DropPatches = Annotated[
    float | None,
    _learning(metavar="SHARE", help="Of a slide's patches, left out anew in every step. [default: 0]"),
]
Mixup = Annotated[bool, _learning("--mixup", help="Mix slides in half of the steps.")]
Jobs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Folds trained at once, to the same weights as one by one. [default: 1]"),
]
CacheGb = Annotated[
    float | None, typer.Option(metavar="GB", help="Memory for bags kept between epochs. [default: 4]")
]
TensorBoard = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Losses for TensorBoard (extra: tensorboard).")
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings as YAML, or head.json of another head."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="One setting, e.g. hidden=256; head.json lists all."),
]


def train(
    run: Bags,
    labels: Labels,
    out: HeadOut,
    head: HeadName = None,
    task: TaskName = None,
    target: Targets = None,
    covariates: Covariates = None,
    fusion: Fusion = None,
    bag: BagKind = None,
    folds: Folds = None,
    repeats: Repeats = None,
    splits: Splits = None,
    leave_out: LeaveOut = None,
    keep_together: KeepTogether = None,
    validation: Validation = None,
    allow_duplicates: Duplicates = False,
    epochs: Epochs = None,
    lr: Rate = None,
    seed: Seed = None,
    imbalance: Imbalance = None,
    warm_up: WarmUp = None,
    drop_patches: DropPatches = None,
    mixup: Mixup = False,
    jobs: Jobs = None,
    device: Device = "auto",
    cache_gb: CacheGb = None,
    tensorboard: TensorBoard = None,
    config: Config = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Train a head with cross-validation by patient, and keep one head per fold."""
    given = dict(locals())
    from ..mil.pages import ask_for_large_pages

    ask_for_large_pages()
    from ..mil.train import train as train_heads
    from ..report.training_page import write_training_page

    spec = _spec(given)
    with _told(tensorboard) as progress:
        report = train_heads(run, labels, out, spec, progress)
    write_training_page(out)
    _tell(report, spec, json)


def _spec(given: dict[str, Any]) -> TrainSpec:
    """How to train, from a command's parameters."""
    from ..features.encoder import resolve_device
    from ..mil.spec import TrainSpec
    from ..mil.target import Target
    from .settings import gather

    same = (
        *(
            "head",
            "task",
            "fusion",
            "bag",
            "folds",
            "validation",
            "epochs",
            "lr",
            "seed",
            "imbalance",
            "warm_up",
        ),
        *("drop_patches", "jobs", "cache_gb"),
    )
    flags = {name: given[name] for name in same} | {
        "targets": [Target.parse(text).to_dict() for text in given["target"] or ()] or None,
        "covariates": given["covariates"],
        "split.repeats": given["repeats"],
        "split.given": str(given["splits"]) if given["splits"] else None,
        "split.leave_out": given["leave_out"],
        "split.keep_together": given["keep_together"],
        "mixup": given["mixup"] or None,
        "allow_duplicates": given["allow_duplicates"] or None,
        "device": None if given["device"] == "auto" else given["device"],
    }
    settings = gather(given["config"], "train", flags, given["settings"] or [])
    return TrainSpec.from_dict(settings | {"device": resolve_device(str(settings.get("device", "auto")))})


def _tell(report: TrainReport, spec: TrainSpec, json: bool) -> None:
    out = report.head
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
        _rows(report, spec),
    )
    say(f"{out}: report.html, metrics.json, predictions.csv, history.jsonl and a set of weights per fold.")


def _rows(report: TrainReport, spec: TrainSpec) -> list[tuple[str, str, str]]:
    """Every metric, of the heads and of the probe."""
    from ..mil.answers import prefix_of
    from ..mil.metrics import Estimate
    from ..report.tables import estimate_text, metric_name

    def text(model: str, name: str) -> str:
        value = report.metrics[model].get(name)
        return estimate_text(Estimate.from_dict(value)) if value else ""

    prefixes = [prefix_of(outcome.target, spec.asked) for outcome in report.outcomes]
    return [
        (
            metric_name(name, next((p for p in prefixes if name.startswith(p)), "")),
            text("head", name),
            text("linear_probe", name),
        )
        for name in report.metrics["head"]
    ]


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
