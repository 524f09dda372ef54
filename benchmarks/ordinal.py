"""Ordinal heads against cross-entropy on simulated five-grade cohorts, in one run.

    python benchmarks/ordinal.py [--cohorts 5] [--patients 150] [--epochs 40] [--first 0]

Each cohort is cross-validated by patient with every task; all else is equal. Prints quadratic kappa out of
fold, and the difference to cross-entropy with a 95 % interval: paired bootstrap over the patients of all
cohorts. Each task decides in its own way: on the most probable class, or on the median grade. A slide has a
hidden severity between 0 and 1, which sets the share of diseased patches and how far they have changed. Its
grade is the severity cut in five, read by an observer who errs.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from slidestream.mil.bags import Bags
from slidestream.mil.crossval import cross_validate
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.metrics import quadratic_kappa
from slidestream.mil.spec import TrainSpec
from slidestream.mil.splits import plan_folds

DIM, GRADES, OBSERVER = 32, 5, 0.07


def simulate(patients: int, seed: int) -> tuple[Labels, dict[str, Bags]]:
    """One slide per patient."""
    random = np.random.default_rng(seed)
    change = random.normal(size=(2, DIM)) / np.sqrt(DIM)
    entries, bags = [], {}
    for number in range(patients):
        severity, count = random.random(), int(random.integers(30, 80))
        seen = np.clip(severity + OBSERVER * random.normal(), 0, 0.999)
        x = random.normal(size=(count, DIM))
        diseased = random.random(count) < 0.1 + 0.5 * severity
        x[diseased] += 3 * (severity * change[0] + (1 - severity) * change[1]) + change[0]
        slide = f"s{number:04}"
        features = torch.from_numpy(x.astype(np.float32))
        bags[slide] = Bags.single(features, torch.zeros(count, 2, dtype=torch.int32))
        entries.append(Entry(slide, slide, str(int(seen * GRADES))))
    return Labels.of(entries), bags


def out_of_fold(labels: Labels, bags: dict[str, Bags], spec: TrainSpec) -> NDArray[np.float64]:
    return cross_validate(plan_folds(labels, spec), bags.__getitem__, spec).probabilities


Tables = list[NDArray[np.float64]]


def difference(
    targets: list[NDArray[np.int64]], ours: Tables, theirs: Tables, median: bool
) -> tuple[float, float, float]:
    """Mean over cohorts of the difference in kappa, and its 95 % interval: the same patients for both.

    Args:
        median: give the others, too, the median grade for the most probable one.
    """
    random = np.random.default_rng(0)

    def mean(rows: list[NDArray[np.int64]]) -> float:
        pairs = zip(targets, ours, theirs, rows, strict=True)
        gains = [
            quadratic_kappa(t[r], a[r], True) - quadratic_kappa(t[r], b[r], median) for t, a, b, r in pairs
        ]
        return float(np.mean(gains))

    whole = [np.arange(len(t)) for t in targets]
    draws = [mean([random.integers(len(t), size=len(t)) for t in targets]) for _ in range(2000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return mean(whole), float(low), float(high)


def kappas(task: str, targets: list[NDArray[np.int64]], found: list[NDArray[np.float64]]) -> list[float]:
    ordered = TrainSpec(task=task).ordered
    return [quadratic_kappa(t, p, ordered) for t, p in zip(targets, found, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=5)
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="seed of the first cohort")
    options = parser.parse_args()
    targets: list[NDArray[np.int64]] = []
    found: dict[str, list[NDArray[np.float64]]] = {"classes": [], "corn": [], "link": []}
    for seed in range(options.first, options.first + options.cohorts):
        labels, bags = simulate(options.patients, seed)
        targets.append(labels.targets)
        for task, each in found.items():
            spec = TrainSpec(task=task, epochs=options.epochs, bootstrap=1, seed=seed)
            each.append(out_of_fold(labels, bags, spec))
    for task, each in found.items():
        own = kappas(task, targets, each)
        print(f"{task}: quadratic kappa {np.mean(own):.3f} ({min(own):.3f} to {max(own):.3f})")
        if task != "classes":
            for median, rule in ((False, "the most probable"), (True, "the median")):
                value, low, high = difference(targets, each, found["classes"], median)
                print(f"  minus classes, {rule} grade: {value:+.3f} ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main()
