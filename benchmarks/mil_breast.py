"""Breast cores of UCSB, benign or malignant, with the built-in encoder: heads against a linear probe.

    python benchmarks/mil_breast.py [DATA] [--seeds 10] [--mpp 0.25] [--spacing 1.0] [--size 64] \
        [--validation 0.2] [--epochs 60]

DATA is the folder UCSB_breast_dev30: 30 pictures from five groups (an array and the date it was stained),
labels.csv. The pictures are encoded once. A group is never split: five folds, each holds one group out, so
seeds change weights, sampling and the part that training is stopped by. Prints AUROC out of fold, over all
pictures, mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from pathlib import Path

import numpy as np

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.features.layout import list_stores
from slidestream.features.store import open_store
from slidestream.mil.bags import Bags, bag_from_store
from slidestream.mil.crossval import cross_validate
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.metrics import auroc
from slidestream.mil.spec import TrainSpec
from slidestream.mil.splits import plan_folds
from slidestream.tiling.spec import PatchSpec

DATA = Path(os.environ.get("SLIDESTREAM_TEST_DATA", Path(__file__).parent / "../../shared/data"))
HEADS = ("mean", "abmil", "transmil")
FOLDS = 5


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


def read_labels(data: Path) -> Labels:
    """Every picture with its group as the patient, who is never split."""
    with open(data / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return Labels.of(Entry(Path(row["file"]).stem, row["group"], row["label"]) for row in rows)


def encode(data: Path, mpp: float, patch: PatchSpec) -> dict[str, Bags]:
    """The bag of every picture."""
    config = RunConfig(patch=patch, force_spacing=True)
    with tempfile.TemporaryDirectory() as folder:
        order = RunOrder(find_inputs([data], mpp).inputs, config, Path(folder), Execution())
        summary = run_cohort(order, Silent())
        if summary.failures:
            raise RuntimeError(summary.failures[0])
        stores = [open_store(path) for path in list_stores(Path(folder))]
        return {store.slide_id: bag_from_store(store) for store in stores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=DATA / "patches/UCSB_breast_dev30")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--mpp", type=float, default=0.25, help="of the pictures")
    parser.add_argument("--spacing", type=float, default=1.0, help="of the patches")
    parser.add_argument("--size", type=int, default=64, help="of the patches, px")
    parser.add_argument("--heads", nargs="*", default=HEADS)
    parser.add_argument("--validation", type=float, default=TrainSpec.validation, help="0: stop by none")
    parser.add_argument("--epochs", type=int, default=TrainSpec.epochs)
    options = parser.parse_args()
    patch = PatchSpec(size_px=options.size, spacing=options.spacing, overlap=0.5)
    labels, bags = read_labels(options.data), encode(options.data, options.mpp, patch)
    counts = [len(bag.features) for bag in bags.values()]
    print(f"{len(bags)} pictures, {min(counts)} to {max(counts)} patches each")
    for name in options.heads:
        found, probes = [], []
        for seed in range(options.seeds):
            spec = TrainSpec(
                head=name,
                folds=FOLDS,
                seed=seed,
                bootstrap=1,
                validation=options.validation,
                epochs=options.epochs,
            )
            result = cross_validate(plan_folds(labels, spec), bags.__getitem__, spec)
            found.append(result.metrics["head"]["auroc"].value)
            probes.append(auroc(labels.targets, result.probe))
            print(f"  {name}, seed {seed}: {found[-1]:.3f}, linear probe {probes[-1]:.3f}", flush=True)
        print(
            f"{name}: AUROC {np.mean(found):.3f} ± {np.std(found):.3f} ({min(found):.3f} to {max(found):.3f})"
        )
    print(f"linear probe: AUROC {np.mean(probes):.3f} ± {np.std(probes):.3f}")


if __name__ == "__main__":
    main()
