"""What stain normalisation does to a cohort of two scanners.

    python benchmarks/two_scanners.py [FOLDER] [--slides N] [--side PX] [--seeds N] [--methods ...] [--json]

Draws the demo's cohort (scanner A at 0.50 µm, scanner B at 0.46 µm, each with its laboratory's stains and
white), encodes it with `texture` once per stain method, and reports

- how well the scanner can be told from mean embeddings, out of fold (0.5 is chance), and the share of the
  columns each of which tells it alone with an AUROC above 0.9,
- the AUROC and, at 0.5, the balanced accuracy of the grade on the slides of one scanner by what was trained
  on the other's: a linear probe on mean embeddings, and the attention head (mean over seeds); and the
  head's AUROC out of fold on both scanners together.

Some patients have slides on both scanners, but nothing of a drawn slide depends on the patient. A given
FOLDER is gone on with: runs that are there are not repeated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.cohort.synthetic import Cohort, synthesise
from slidestream.cohort.synthetic_spec import CohortSpec
from slidestream.features.layout import store_path
from slidestream.features.store import open_store
from slidestream.mil.baseline import linear_probe
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.metrics import auroc, balanced_accuracy
from slidestream.mil.predict import predict_run
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train
from slidestream.report.told_apart import told_apart
from slidestream.stain.reference import reference
from slidestream.stain.spec import METHODS, StainSpec
from slidestream.table import write_table

METRICS = {"auroc": auroc, "balanced_accuracy": balanced_accuracy}
SCANNERS = ("A", "B")
FOLDS = 3


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


def encode(cohort: Cohort, method: str) -> Path:
    """The run folder of one stain method, "none" for none."""
    stain = None if method == "none" else StainSpec(method, reference(method))
    run = cohort.folder / f"run-{method}"
    inputs = find_inputs([cohort.folder / "slides"]).inputs
    summary = run_cohort(RunOrder(inputs, RunConfig(stain=stain), run, Execution()), Silent())
    assert not summary.failures, summary.failures
    return run


def slide_means(cohort: Cohort, run: Path) -> NDArray[np.float64]:
    """Mean embedding of every slide (S, D), in the cohort's order."""
    stores = [open_store(store_path(run, row.slide)) for row in cohort.rows]
    return np.stack([np.nanmean(store.features().astype(np.float64), axis=0) for store in stores])


def labels_of(cohort: Cohort, column: str) -> Labels:
    labels = Labels.of(Entry(row.slide, row.patient, getattr(row, column)) for row in cohort.rows)
    assert labels.slides == tuple(row.slide for row in cohort.rows)
    return labels


def telling_columns(cohort: Cohort, means: NDArray[np.float64]) -> float:
    """The share of the columns that tell the scanner alone."""
    targets = labels_of(cohort, "scanner").targets
    scores = [auroc(targets, np.stack([-column, column], axis=1)) for column in means.T]
    return float(np.mean([max(score, 1 - score) > 0.9 for score in scores]))


def probe_across(cohort: Cohort, means: NDArray[np.float64]) -> dict[str, float]:
    """The grade on each scanner's slides by a linear probe on the other's."""
    targets = labels_of(cohort, "label").targets
    scanner = np.array([SCANNERS.index(row.scanner) for row in cohort.rows])
    probabilities = linear_probe(means, targets, scanner)  # two folds: the two scanners
    return {
        f"{SCANNERS[1 - s]} to {SCANNERS[s]}, {name}": metric(
            targets[scanner == s], probabilities[scanner == s]
        )
        for s in range(2)
        for name, metric in METRICS.items()
    }


def head_across(cohort: Cohort, run: Path, spec: TrainSpec) -> dict[str, float]:
    """The same by the attention head: the ensemble of its folds on slides that no fold has seen."""
    targets = dict(zip([r.slide for r in cohort.rows], labels_of(cohort, "label").targets, strict=True))
    found = {}
    for scanner in SCANNERS:
        seen = [row for row in cohort.rows if row.scanner == scanner]
        table, head = cohort.folder / "seen.csv", cohort.folder / "seen-head"
        write_table(table, ("slide", "patient", "label"), [(r.slide, r.patient, r.label) for r in seen])
        shutil.rmtree(head, ignore_errors=True)
        train(run, table, head, spec)
        new = [p for p in predict_run(head, run) if p.slide not in {row.slide for row in seen}]
        truth = np.array([targets[p.slide] for p in new])
        (other,) = set(SCANNERS) - {scanner}
        probabilities = np.stack([p.probabilities for p in new])
        for name, metric in METRICS.items():
            found[f"{scanner} to {other}, {name}"] = metric(truth, probabilities)
    return found


def head_within(cohort: Cohort, run: Path, spec: TrainSpec) -> float:
    """AUROC of the grade, out of fold, on both scanners together."""
    head = cohort.folder / "both-head"
    shutil.rmtree(head, ignore_errors=True)
    return float(train(run, cohort.labels, head, spec).metrics["head"]["auroc"]["value"])


def measure(cohort: Cohort, method: str, seeds: int) -> dict[str, float | None]:
    run = encode(cohort, method)
    means = slide_means(cohort, run)
    found: dict[str, float | None] = {"scanner, AUROC": told_apart(labels_of(cohort, "scanner"), means)}
    found["scanner, columns that tell it"] = telling_columns(cohort, means)
    found |= {f"probe, {how}": score for how, score in probe_across(cohort, means).items()}
    specs = [replace(TrainSpec(folds=FOLDS), seed=seed) for seed in range(seeds)]
    across = [head_across(cohort, run, spec) for spec in specs]
    found |= {f"head, {how}": float(np.mean([one[how] for one in across])) for how in across[0]}
    found["head, both scanners, auroc"] = float(np.mean([head_within(cohort, run, spec) for spec in specs]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--slides", type=int, default=24)
    parser.add_argument("--side", type=int, default=8000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["none", *METHODS])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cohort = synthesise(options.folder or Path(scratch), CohortSpec(options.slides, options.side))
        found = {method: measure(cohort, method, options.seeds) for method in options.methods}
    if options.json:
        print(json.dumps(found))
        return
    names = list(found[options.methods[0]])
    print(f"{options.slides} slides of {options.side} px")
    print(f"{'':<36}" + "".join(f"{method:>10}" for method in found))
    for name in names:
        row = [scores[name] for scores in found.values()]
        print(f"{name:<36}" + "".join(f"{'-' if s is None else f'{s:.3f}':>10}" for s in row))


if __name__ == "__main__":
    main()
