"""How a head is trained, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UsageError
from ..spec import Spec
from .target import Target, require_distinct

PRECISIONS = ("auto", "float32", "bfloat16")
BAGS = ("slide", "patient")
FUSION = ("late", "intermediate")
IMBALANCE = ("weighted", "none", "focal", "logit", "sampled")
NAMES = {"precision": PRECISIONS, "bag": BAGS, "imbalance": IMBALANCE, "fusion": FUSION}

COUNTS = (
    "hidden",
    "attention",
    "epochs",
    "patience",
    "bags_per_step",
    "bag_size",
    "bootstrap",
    "threads",
    "jobs",
)

Limit = tuple[tuple[str, ...], Callable[[float], bool], str]

LIMITS: tuple[Limit, ...] = (
    (("folds",), lambda value: value >= 2, "Use 2 folds or more."),
    (COUNTS, lambda value: value >= 1, "Use 1 or more."),
    (("lr", "max_grad_norm"), lambda value: value > 0, "Use more than 0."),
    (("validation",), lambda value: 0 <= value <= 0.5, "Use 0, or a share up to 0.5."),
    (("dropout", "drop_patches", "warm_up"), lambda value: 0 <= value < 1, "Use 0 or more, below 1."),
    (("cache_gb", "weight_decay", "seed"), lambda value: value >= 0, "Use 0 or more."),
)
"""What settings may be: their names, whether a value fits, and what to use instead."""


@dataclass(frozen=True)
class SplitSpec(Spec):
    """How slides are held out. Patients are always kept whole.

    Attributes:
        repeats: how often all slides are divided anew into folds, each time with another seed.
        given: path of a CSV with folds, or of a folder of such files; nothing is drawn then.
        leave_out: column of the labels; each of its values, such as a site, is held out once.
        keep_together: column of the labels, such as the site; no value of it is in two folds.
    """

    repeats: int = 1
    given: str = ""
    leave_out: str = ""
    keep_together: str = ""

    @property
    def column(self) -> str:
        """The column of the labels whose values are kept whole; empty where there is none."""
        return self.leave_out or self.keep_together

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UsageError(f"{self.repeats} repeats are impossible.", "Use 1 or more.")
        if sum(map(bool, (self.given, self.leave_out, self.keep_together))) > 1:
            raise UsageError("Slides can be split in one way only.", "Choose one of given, leave out, keep.")
        if self.repeats > 1 and (self.given or self.leave_out):
            raise UsageError(
                "Splits that are fixed cannot be repeated.",
                "Repeat folds that are drawn, or change the seed.",
            )


@dataclass(frozen=True)
class TrainSpec(Spec):
    """Everything that a training run depends on besides embeddings and labels.

    Attributes:
        head: registry name.
        task: of the column label: "classes" without an order, or grades in order: "corn" or "link".
        targets: what else is to be predicted, and then not the column label; none for that column.
        imbalance: what is done about rare classes: "weighted", "none", "focal", "logit" or "sampled".
        bag: "slide", or "patient": all slides of a patient are one bag with one label.
        folds: of the patient-grouped cross-validation; one head is kept per fold. Given splits and sites
            that are left out have a number of their own.
        split: how slides are held out.
        validation: share of the patients that a head may learn from, that is set aside to stop by; 0 sets
            nothing aside, and a head learns from all of them for all epochs.
        covariates: columns of the labels that the head takes besides the slide.
        fusion: how: "late", at the logits, or "intermediate", before the first layer.
        hidden: width of the learned projection of an embedding.
        attention: width of the attention network.
        dropout: probability, on the projection and on the pooled bag.
        epochs: most passes over the training slides.
        patience: epochs without a better validation loss before training stops.
        bags_per_step: slides per optimiser step.
        precision: "float32", "bfloat16", or "auto": bfloat16 where the hardware multiplies it and the head
            was measured safe. Validation and prediction are always float32.
        cache_gb: most memory for bags that are kept between epochs, in GB of 10^9 bytes.
        bag_size: most patches of a slide used in one step, drawn afresh each time; validation and
            prediction always see whole bags.
        drop_patches: share of the patches of a slide that a step leaves out, drawn afresh each time.
        mixup: mix bags of a step with each other.
        lr: peak learning rate of AdamW; after the warm-up it falls to 0 along a cosine over `epochs`.
        warm_up: share of the epochs in which the learning rate rises.
        weight_decay: of AdamW.
        max_grad_norm: gradients are scaled down to this norm.
        bootstrap: resamples of the patients behind a confidence interval.
        seed: of splits, initial weights, dropout, sampling and bootstrap.
        device: torch device to train on.
        threads: CPU threads of torch while training. More help only when bags are large; one gives
            the same weights on every machine of a kind and does not stall where cores are shared.
        jobs: folds that are trained at once, each in a process of its own; the weights are the same.
        allow_duplicates: train although slides of different patients look the same.
    """

    head: str = "abmil"
    task: str = "classes"
    targets: tuple[Target, ...] = ()
    imbalance: str = "weighted"
    bag: str = "slide"
    folds: int = 5
    split: SplitSpec = SplitSpec()
    validation: float = 0.2
    covariates: tuple[str, ...] = ()
    fusion: str = "late"
    hidden: int = 128
    attention: int = 64
    dropout: float = 0.25
    epochs: int = 60
    patience: int = 15
    bags_per_step: int = 8
    bag_size: int = 8192
    precision: str = "auto"
    cache_gb: float = 4.0
    drop_patches: float = 0.0
    mixup: bool = False
    lr: float = 1e-3
    warm_up: float = 0.0
    weight_decay: float = 1e-2
    max_grad_norm: float = 1.0
    bootstrap: int = 1000
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    jobs: int = 1
    allow_duplicates: bool = False

    @property
    def ordered(self) -> bool:
        """Whether classes are grades in order."""
        return self.asked[0].ordered

    @property
    def asked(self) -> tuple[Target, ...]:
        """Everything that is to be predicted."""
        return self.targets or (Target("label", self.task),)

    def __post_init__(self) -> None:
        self._require_targets()
        for names, fits, fix in LIMITS:
            for name in names:
                value = getattr(self, name)
                if not fits(value):
                    raise UsageError(f"Training with {name} = {value} is impossible.", fix)
        for name, known in NAMES.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"There is no {name} {getattr(self, name)!r}.", f"Known: {', '.join(known)}."
                )

    def _require_targets(self) -> None:
        if self.targets and self.task != "classes":
            raise UsageError("The task of a target stands with its name.", "Write --target NAME:TASK.")
        require_distinct(self.asked)
        if self.imbalance == "sampled" and not (len(self.asked) == 1 and self.asked[0].has_classes):
            raise UsageError(
                "Slides can be drawn by their class only.",
                "Use another --imbalance, or one target of classes.",
            )
        if self.mixup and any(target.task == "cox" for target in self.asked):
            raise UsageError(
                "Mixed bags have no place among those at risk: cox compares slides.",
                "Use hazard, or no mixup.",
            )
