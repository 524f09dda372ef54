"""Survival, and several targets of one head with half of the labels missing, on simulated cohorts.

    python benchmarks/outcomes.py [--cohorts 3] [--patients 240] [--epochs 30] [--first 0] [--head abmil-mb]

A slide has three hidden numbers, each of which sets the share and the look of some of its patches. From the
first follow a time to an event and when it is lost from sight, from the second a grade of three, from the
third a number. Everything is out of fold, by patient. Printed are

- the concordance of the risk that gated ABMIL gives, by Cox and in discrete time, beside that of the true
  risk and of a linear probe, and the integrated Brier score beside that of the true survival and of one
  curve for all;
- for each target what one head of three targets reaches where half of the labels are missing at random, less
  what three heads of one target reach from the same labels, with a 95 % interval: paired bootstrap over the
  patients of all cohorts. Each target depends on other patches, so that one attention for all (--head abmil)
  must compromise; heads with an attention for each logit need not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from slidestream.mil.bags import Bags
from slidestream.mil.crossval import CrossValidation, cross_validate
from slidestream.mil.judged import Measured, Survived
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.metrics import Judged, Predicted, auroc
from slidestream.mil.outcomes import known_of, strata
from slidestream.mil.spec import TrainSpec
from slidestream.mil.splits import plan_folds
from slidestream.mil.survival_metrics import brier_over_time, concordance, integrated_brier, kaplan_meier
from slidestream.mil.target import Target

DIM = 32
EFFECT = 1.5
"""Log hazard ratio of one standard deviation."""

TARGETS = tuple(map(Target.parse, ["time:cox:event", "grade:classes", "score:regression"]))
METRICS = ("concordance", "AUROC", "R2")
Random = np.random.Generator


@dataclass(frozen=True, eq=False)
class Cohort:
    """Slides of one patient each: bags, the cells of the targets' columns, and the true log hazard ratio."""

    bags: dict[str, Bags]
    cells: list[tuple[str, ...]]
    risk: NDArray[np.float64]


def simulate(patients: int, seed: int) -> Cohort:
    random = np.random.default_rng(seed)
    looks = random.normal(size=(3, DIM)) * 3 / np.sqrt(DIM)
    hidden = random.normal(size=(patients, 3))
    bags = {}
    for number, row in enumerate(hidden):
        count = int(random.integers(60, 160))
        x = random.normal(size=(count, DIM))
        kind = random.integers(0, 6, count)  # half of the patches say nothing
        for which in range(3):
            x[kind == which] += looks[which] * (1 + row[which] / 2)
        features = torch.from_numpy(x.astype(np.float32))
        bags[f"s{number:04}"] = Bags.single(features, torch.zeros(count, 2, dtype=torch.int32))
    died, lost = random.exponential(np.exp(-EFFECT * hidden[:, 0])), random.exponential(2, patients)
    grade = np.digitize(hidden[:, 1], [-0.43, 0.43])
    score = hidden[:, 2] + 0.3 * random.normal(size=patients)
    cells = [
        (f"{min(d, c):.6f}", str(int(d <= c)), str(g), f"{s:.6f}")
        for d, c, g, s in zip(died, lost, grade, score, strict=True)
    ]
    return Cohort(bags, cells, EFFECT * hidden[:, 0])


def with_gaps(cells: list[tuple[str, ...]], random: Random) -> list[tuple[str, ...]]:
    """Half of each target is not known."""
    kept = random.random((len(cells), len(TARGETS))) < 0.5
    kept[~kept.any(1), 0] = True
    owner = [number for number, target in enumerate(TARGETS) for _ in target.columns]
    return [
        tuple(text if kept[row, which] else "" for text, which in zip(own, owner, strict=True))
        for row, own in enumerate(cells)
    ]


def trained(cohort: Cohort, cells: list[tuple[str, ...]], spec: TrainSpec) -> CrossValidation:
    """Cross-validated on the slides of which any target of the spec is known."""
    slides = list(cohort.bags)
    rows = np.array([row for row, own in enumerate(cells) if any(own)])
    labels = Labels.of(Entry(slides[row], slides[row], "", cells[row]) for row in rows)
    plan = plan_folds(strata(labels, known_of(labels, spec.asked), spec.folds), spec)
    return cross_validate(plan, cohort.bags.__getitem__, spec)


def survival(cohorts: list[Cohort], options: argparse.Namespace) -> None:
    """How near a head comes to the true risk and the true survival."""
    table: dict[str, list[tuple[float, float]]] = {}
    for number, cohort in enumerate(cohorts):
        cells = [own[:2] for own in cohort.cells]
        for task in ("cox", "hazard"):
            spec = spec_of((Target("time", task, ("event",)),), options, number)
            result = trained(cohort, cells, spec)
            for model, judged in result.answered[0].models().items():
                name = f"head, {task}" if model == "head" else "linear probe"
                table.setdefault(name, []).append(of_survival(judged))
        assert isinstance(judged, Survived)
        table.setdefault("truth", []).append(of_truth(judged, cohort.risk))
        table.setdefault("everyone alike", []).append((0.5, of_everyone(judged)))
    for name, values in table.items():
        order, brier = np.array(values).T
        print(f"{name:16} concordance {spread(order)}, integrated Brier {spread(brier)}")


def of_survival(judged: Judged) -> tuple[float, float]:
    found = judged.metrics()
    return found["c_index"], found["integrated_brier"]


def of_truth(judged: Survived, risk: NDArray[np.float64]) -> tuple[float, float]:
    survival = np.exp(-np.exp(risk)[:, None] * judged.at)
    scores = brier_over_time(judged.times, judged.events, survival, judged.at)
    return concordance(judged.times, judged.events, risk), integrated_brier(scores, judged.at)


def of_everyone(judged: Survived) -> float:
    times, share = kaplan_meier(judged.times, judged.events)
    alike = np.concatenate([[1.0], share])[np.searchsorted(times, judged.at, side="right")]
    survival = np.broadcast_to(alike, judged.survival.shape)
    scores = brier_over_time(judged.times, judged.events, survival, judged.at)
    return integrated_brier(scores, judged.at)


def together(cohorts: list[Cohort], options: argparse.Namespace) -> None:
    """One head of all targets against a head of each, from the same half of the labels, judged on these."""
    pairs: list[list[tuple[Judged, Judged]]] = [[] for _ in TARGETS]
    for number, cohort in enumerate(cohorts):
        cells = with_gaps(cohort.cells, np.random.default_rng(1000 + number))
        joint = trained(cohort, cells, spec_of(TARGETS, options, number, options.head))
        start = 0
        for which, target in enumerate(TARGETS):
            end = start + len(target.columns)
            columns = [every[start:end] for every in cells]
            alone = trained(cohort, columns, spec_of((target,), options, number, options.head))
            said = joint.answered[which]
            ours = said.said.judged(said.answers)
            theirs = alone.answered[0].said.judged(alone.answered[0].answers)
            assert ours.patients == theirs.patients
            pairs[which].append((ours, theirs))
            start = end
    for target, name, own in zip(TARGETS, METRICS, pairs, strict=True):
        each = [np.mean([metric(pair[side]) for pair in own]) for side in (0, 1)]
        value, low, high = difference(own)
        print(
            f"{target.name}: {name} {each[0]:.3f} together, {each[1]:.3f} alone, "
            f"difference {value:+.3f} ({low:+.3f} to {high:+.3f})"
        )


def metric(judged: Judged) -> float:
    if isinstance(judged, Survived):
        return concordance(judged.times, judged.events, judged.risk)
    if isinstance(judged, Predicted):
        return auroc(judged.targets, judged.probabilities)
    assert isinstance(judged, Measured)
    return judged.metrics()["r2"]


def difference(pairs: list[tuple[Judged, Judged]]) -> tuple[float, float, float]:
    """Mean over cohorts, and its 95 % interval: the same patients for both."""
    random = np.random.default_rng(0)

    def mean(rows: Callable[[int], NDArray[np.int64]]) -> float:
        drawn = [(ours, theirs, rows(len(ours.patients))) for ours, theirs in pairs]
        return float(np.mean([metric(a.only(r)) - metric(b.only(r)) for a, b, r in drawn]))

    draws = [mean(lambda n: random.integers(n, size=n)) for _ in range(1000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return mean(np.arange), float(low), float(high)


def spec_of(
    targets: tuple[Target, ...], options: argparse.Namespace, number: int, head: str = "abmil"
) -> TrainSpec:
    seed = options.first + number
    return TrainSpec(head=head, targets=targets, epochs=options.epochs, bootstrap=1, seed=seed)


def spread(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=3)
    parser.add_argument("--patients", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="seed of the first cohort")
    parser.add_argument("--head", default="abmil-mb", help="of several targets, and of each alone")
    options = parser.parse_args()
    cohorts = [simulate(options.patients, options.first + number) for number in range(options.cohorts)]
    survival(cohorts, options)
    together(cohorts, options)


if __name__ == "__main__":
    main()
