"""Where a head looks, against the truth: lung patches of LC25000 pasted into slides, and the whole pipeline.

    python benchmarks/mil_pasted.py [DATA] [--patients 40] [--head abmil] [--json]

DATA is the folder LC25000_lung_224: patches of adenocarcinoma and of normal lung, and groups.csv, which says
from which picture each was augmented. Every group belongs to one patient, so no picture is on both sides of
a fold. A patient has two slides: of normal patches only, and with 5 to 40 % tumour patches at places drawn
at random. Slides are written, run with the built-in encoder, and a head is trained by patient; all that is
printed is out of fold: AUROC of the slides, and for each way to explain, its AUROC against the true places
on the tumour slides, and its faithfulness by patch flipping.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.features.layout import store_path
from slidestream.features.store import open_store
from slidestream.mil.artifact import load_head
from slidestream.mil.explain import explain, method_names
from slidestream.mil.predict import predict_run
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

DATA = Path(os.environ.get("SLIDESTREAM_TEST_DATA", Path(__file__).parent / "../../shared/data"))
SIDE = 224
TUMOUR, NORMAL = "lung_aca", "lung_n"
LEAST_TUMOUR, MOST_TUMOUR = 0.05, 0.40


@dataclass(frozen=True)
class Recipe:
    """How slides are pasted: so many patients, and so many patches across and down a slide."""

    patients: int = 40
    columns: int = 8
    rows: int = 5
    seed: int = 0


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


def groups_of(data: Path, kind: str) -> list[list[Path]]:
    """The files of each group of one kind."""
    groups: dict[str, list[Path]] = defaultdict(list)
    with open(data / "groups.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["cls"] == kind:
                groups[row["group"]].append(data / row["file"])
    return [groups[name] for name in sorted(groups)]


def paste(data: Path, out: Path, recipe: Recipe) -> dict[str, NDArray[np.bool_]]:
    """Write `slides/*.tiff` and `labels.csv`; returns where the tumour is, (rows, columns) by slide."""
    random = np.random.default_rng(recipe.seed)
    shares = [
        np.array_split(random.permutation(len(groups_of(data, k))), recipe.patients) for k in (TUMOUR, NORMAL)
    ]
    kinds = [groups_of(data, kind) for kind in (TUMOUR, NORMAL)]
    (out / "slides").mkdir(parents=True)
    truth, lines = {}, ["slide,patient,label"]
    for patient in range(recipe.patients):
        tumour, normal = (
            [path for g in share[patient] for path in kind[g]]
            for kind, share in zip(kinds, shares, strict=True)
        )
        for label in ("normal", "tumour"):
            slide = f"p{patient:02}-{label}"
            truth[slide] = _places(recipe, random) & (label == "tumour")
            _write(out / "slides" / f"{slide}.tiff", truth[slide], (tumour, normal), random)
            lines.append(f"{slide},p{patient:02},{label}")
    (out / "labels.csv").write_text("\n".join(lines) + "\n")
    return truth


def _places(recipe: Recipe, random: np.random.Generator) -> NDArray[np.bool_]:
    """(rows, columns) True for between 5 and 40 % of the places."""
    count = recipe.rows * recipe.columns
    least, most = int(np.ceil(LEAST_TUMOUR * count)), int(MOST_TUMOUR * count)
    chosen = random.permutation(count) < random.integers(least, most + 1)
    return chosen.reshape(recipe.rows, recipe.columns)


def _write(
    path: Path, tumour: NDArray[np.bool_], sources: tuple[list[Path], list[Path]], random: np.random.Generator
) -> None:
    """A tiled TIFF at 1 µm per px; every patch is turned and mirrored at random."""
    rows, columns = tumour.shape
    slide = np.empty((rows * SIDE, columns * SIDE, 3), np.uint8)
    for row, column in np.ndindex(rows, columns):
        files = sources[0] if tumour[row, column] else sources[1]
        with Image.open(files[random.integers(len(files))]) as picture:
            patch = np.rot90(np.asarray(picture.convert("RGB")), random.integers(4))
        patch = patch[:, ::-1] if random.random() < 0.5 else patch
        slide[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = patch
    resolution = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, slide, tile=(256, 256), photometric="rgb", metadata=None, **resolution)


def experiment(data: Path, out: Path, recipe: Recipe, spec: TrainSpec) -> dict[str, Any]:
    """Paste, run, train, predict and explain; everything that `main` prints."""
    truth = paste(data, out, recipe)
    inputs = find_inputs([out / "slides"]).inputs
    summary = run_cohort(RunOrder(inputs, RunConfig(), out / "run", Execution()), Silent())
    if summary.failures:
        raise RuntimeError(summary.failures[0])
    report = train(out / "run", out / "labels.csv", out / "head", spec)
    rows = list(_explained(out, truth))
    shares = [places.mean() for slide, places in truth.items() if slide.endswith("tumour")]
    return {
        "slides": len(truth),
        "patches": sum(outcome.patches for outcome in summary.outcomes),
        "tumour share": [float(min(shares)), float(max(shares))],
        "slide AUROC": report.metrics["head"]["auroc"],
        "linear probe AUROC": report.metrics["linear_probe"]["auroc"],
        "methods": {
            name: _summary([r for r in rows if r["method"] == name]) for name in [*method_names(), "random"]
        },
    }


def _explained(out: Path, truth: dict[str, NDArray[np.bool_]]) -> Iterator[dict[str, Any]]:
    """A row for every slide and method: faithfulness, and on tumour slides the AUROC against the truth."""
    head = load_head(out / "head")
    for prediction in predict_run(out / "head", out / "run", out_of_fold=True):
        store = open_store(store_path(out / "run", prediction.slide))
        column, row = (store.coords() // SIDE).T
        tumour = truth[prediction.slide][row, column]
        noise = np.random.default_rng(0).random(len(tumour)).astype(np.float32)
        each = {name: explain(head, store, prediction, name) for name in method_names()}
        each["random"] = explain(head, store, replace(prediction, attention=noise))
        for name, found in each.items():
            # A head that takes a tumour slide for normal explains why it is normal.
            sign = 1 if prediction.predicted == "tumour" or name in ("attention", "random") else -1
            area = roc_auc_score(tumour, sign * found.relevance) if len(set(tumour)) > 1 else None
            score = found.flipping.score if found.flipping else None
            yield {"method": name, "auroc": area, "faithfulness": score}


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    areas = [row["auroc"] for row in rows if row["auroc"] is not None]
    on_tumour = [row["faithfulness"] for row in rows if row["auroc"] is not None]
    everywhere = [row["faithfulness"] for row in rows]
    return {
        "auroc": float(np.mean(areas)),
        "least auroc": float(min(areas)),
        "faithfulness": float(np.mean(on_tumour)),
        "faithfulness, all slides": float(np.mean(everywhere)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=DATA / "patches/LC25000_lung_224")
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--head", default="abmil")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    recipe = Recipe(patients=options.patients, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        found = experiment(
            options.data, Path(folder), recipe, TrainSpec(head=options.head, seed=options.seed)
        )
    if options.json:
        print(json.dumps(found, indent=2))
        return
    show(found, options.head)


def show(found: dict[str, Any], head: str) -> None:
    auroc, probe = found["slide AUROC"], found["linear probe AUROC"]
    least, most = found["tumour share"]
    print(f"{found['slides']} slides, {found['patches']} patches, tumour {least:.0%} to {most:.0%}")
    print(f"slide AUROC, {head}: {auroc['value']:.3f} (95 % CI {auroc['low']:.3f} to {auroc['high']:.3f})")
    print(f"slide AUROC, linear probe: {probe['value']:.3f} ({probe['low']:.3f} to {probe['high']:.3f})")
    print("explanation      AUROC against the truth: mean, least     faithfulness: tumour slides, all slides")
    for name, row in found["methods"].items():
        first = f"{name:15} {row['auroc']:8.3f} {row['least auroc']:8.3f}"
        print(f"{first} {row['faithfulness']:+30.3f} {row['faithfulness, all slides']:+8.3f}")


if __name__ == "__main__":
    main()
