"""What a head folder says of the run that made it, and what of that should worry its reader."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreIncomplete
from ..mil.answers import prefix_of
from ..mil.calibration import COLDEST, HOTTEST, Calibration
from ..mil.graded import Graded, read_graded, targets_of
from ..mil.history import Epoch, read_json_lines
from ..mil.kept import Kept, read_kept
from ..mil.metrics import Estimate, Predicted
from ..mil.spec import TrainSpec
from ..mil.target import Target
from .tables import metric_name

FEW_PATIENTS = 20
"""Of a class: below it, one patient more or less moves a sensitivity by five points."""

FEW_TO_LEARN_FROM = 200
"""Below it, on benchmarks of 30, 92 and 200 bags, heads that set none aside to stop by were better."""

MOST_WARNINGS = 5
"""Of one kind."""

MODELS = {
    "head": "head",
    "head_uncalibrated": "head, not calibrated",
    "linear_probe": "linear probe on means (baseline)",
}


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A finished training run.

    Attributes:
        name: of the head folder.
        spec: how the heads were trained.
        contract: what the embeddings are, as head.json has it.
        metrics: all of metrics.json.
        temperatures: of each target with classes, what its metrics begin with, and the temperatures of each
            fold and, last, of new slides.
        epochs: every epoch of every fold.
        graded: for each target, the out-of-fold predictions with what is true.
    """

    name: str
    spec: TrainSpec
    contract: dict[str, Any]
    metrics: dict[str, Any]
    temperatures: dict[str, tuple[float, ...]]
    epochs: list[Epoch]
    graded: tuple[Graded, ...]

    def estimates(self, model: str) -> dict[str, Estimate]:
        """The metrics of "head", "head_uncalibrated" or "linear_probe"."""
        return {name: Estimate.from_dict(value) for name, value in self.metrics[model].items()}

    @property
    def main(self) -> list[str]:
        """The metric that each target is judged by first."""
        targets = [graded.outcome.target for graded in self.graded]
        return [prefix_of(target, targets) + _main(target) for target in targets]

    def prefix(self, metric: str) -> str:
        """What the name of a metric begins with, of several targets."""
        targets = [graded.outcome.target for graded in self.graded]
        begins = (prefix_of(target, targets) for target in targets)
        return max((one for one in begins if metric.startswith(one)), key=len, default="")

    def curves(self) -> dict[int, list[Epoch]]:
        """The epochs of each fold."""
        folds = sorted({int(epoch["fold"] or 0) for epoch in self.epochs})
        return {fold: [epoch for epoch in self.epochs if epoch["fold"] == fold] for fold in folds}


def read_training_run(head_dir: Path) -> TrainingRun:
    """Read it from the files that `train` leaves.

    Raises:
        StoreIncomplete: a file is missing or is not what `train` writes.
    """
    try:
        document = json.loads((head_dir / "head.json").read_text(encoding="utf-8"))
        spec = TrainSpec.from_dict(document["train"])
        return TrainingRun(
            name=head_dir.name,
            spec=spec,
            contract=document["contract"],
            metrics=json.loads((head_dir / "metrics.json").read_text(encoding="utf-8")),
            temperatures=_temperatures(read_kept(document, spec)),
            epochs=read_json_lines((head_dir / "history.jsonl").read_text(encoding="utf-8")),
            graded=tuple(read_graded(head_dir, None, target) for target in targets_of(head_dir)),
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreIncomplete(
            f"{head_dir} does not hold a whole training run ({type(error).__name__}).", "Train it again."
        ) from error


def _temperatures(kept: Sequence[Kept]) -> dict[str, tuple[float, ...]]:
    targets = [one.outcome.target for one in kept]
    return {
        prefix_of(one.outcome.target, targets): (
            *one.calibration.fold_temperatures,
            one.calibration.temperature,
        )
        for one in kept
        if isinstance(one.calibration, Calibration)
    }


def best_epoch(epochs: list[Epoch]) -> int:
    """The epoch whose weights were kept: the first of the least validation loss, or the last without one."""
    if all(epoch["validation_loss"] is None for epoch in epochs):
        return len(epochs) - 1
    losses = [float("inf") if e["validation_loss"] is None else e["validation_loss"] for e in epochs]
    return losses.index(min(losses))


def warnings_of(run: TrainingRun) -> Iterator[str]:
    """Sentences on what makes the numbers less than they seem."""
    yield from _against_the_probe(run)
    yield from _small(run)
    yield from _set_aside(run)
    yield from _unfinished(run)
    yield from _at_the_limit(run)
    alone = len(run.graded) == 1 and run.graded[0].classes
    lacking = [fold["held_out"] for fold in run.metrics["folds"] if not all(fold["classes"].values())]
    if lacking and alone:
        yield f"Without a slide of every class: {', '.join(lacking)}. AUROC is not defined there."
    left_out = sum(map(len, run.metrics["left_out"].values()))
    if left_out:
        yield f"Slides left out: {left_out}; see the table of the data."
    if run.spec.allow_duplicates:
        yield "Slides that look the same were allowed under different patients: scores may be too good."


def _main(target: Target) -> str:
    if target.has_classes:
        return "quadratic_kappa" if target.ordered else "auroc"
    return {"regression": "r2", "labels": "macro_auroc"}.get(target.task, "c_index")


def _against_the_probe(run: TrainingRun) -> Iterator[str]:
    for metric in run.main:
        head, probe = run.estimates("head")[metric], run.estimates("linear_probe")[metric]
        name = metric_name(metric, run.prefix(metric))
        numbers = f"{name} {head.value:.3f} against {probe.value:.3f}"
        if head.value <= probe.value:
            yield f"The head does not beat the linear probe on means ({numbers}): use the simpler one."
        elif head.low is not None and head.low <= probe.value:
            yield f"The head beats the linear probe ({numbers}), but not by more than chance could."


def _small(run: TrainingRun) -> Iterator[str]:
    for graded in run.graded:
        p = graded.predicted
        if not isinstance(p, Predicted):
            continue
        pairs = set(zip(p.targets.tolist(), p.patients, strict=True))
        patients = [sum(t == number for t, _ in pairs) for number in range(len(graded.classes))]
        few = {name: n for name, n in zip(graded.classes, patients, strict=True) if n < FEW_PATIENTS}
        if len(few) > MOST_WARNINGS:
            rarest = min(few, key=lambda name: few[name])
            yield (
                f"{len(few)} classes have few patients, {rarest} the fewest, {few[rarest]}: their numbers "
                "are uncertain."
            )
            continue
        for name, count in few.items():
            yield f"Class {name} has few patients, {count}: its numbers are uncertain."


def _set_aside(run: TrainingRun) -> Iterator[str]:
    fewest = min((fold["train"] + fold["validation"] for fold in run.metrics["folds"]), default=0)
    if run.spec.validation and fewest < FEW_TO_LEARN_FROM:
        yield (
            f"Of {fewest} slides to learn from, some were set aside to stop by: with so few, "
            "--validation 0 --epochs 30 may be better."
        )


def _at_the_limit(run: TrainingRun) -> Iterator[str]:
    for prefix, temperatures in run.temperatures.items():
        if not all(1.01 * COLDEST < one < HOTTEST / 1.01 for one in temperatures):
            whose = f" of {prefix[:-1]}" if prefix else ""
            yield (
                f"A temperature{whose} is at its limit ({COLDEST:g} to {HOTTEST:g}): heads say little, or a "
                "fold is too small to tell. Probabilities cannot be trusted."
            )


def _unfinished(run: TrainingRun) -> Iterator[str]:
    if not run.spec.validation:
        return
    last = [fold for fold, epochs in run.curves().items() if best_epoch(epochs) == run.spec.epochs - 1]
    if last:
        heads = ", ".join(str(fold + 1) for fold in last)
        which = f"Heads {heads} were" if len(last) > 1 else f"Head {heads} was"
        yield f"{which} still getting better in the last epoch: try more --epochs."
