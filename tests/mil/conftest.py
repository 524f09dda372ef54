"""Run folders made of given bags, and the benchmark bags of the literature."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slidestream.features.card import EncoderCard
from slidestream.features.layout import store_path
from slidestream.features.writer import StoreWriter
from slidestream.mil.bags import Bags
from slidestream.mil.labels import Entry, Labels
from slidestream.tiling.spec import PatchSpec

Planted = tuple[dict[str, NDArray[np.float32]], str]
CARD = EncoderCard("texture", "built-in", "1", "", "Apache-2.0", False, 8, 224)


def attributes(slide: str, dim: int, **changes: Any) -> dict[str, Any]:
    source = {"kind": "slide", "identity": f"content of {slide}", "size": [1000, 500], "spacing": [0.5, 0.5]}
    return {
        "schema": 1,
        "slide_id": slide,
        "source": source,
        "patch": PatchSpec().to_dict(),
        "extent": [100.0, 100.0],
        "encoder": replace(CARD, dim=dim).to_dict(),
        "stain": None,
    } | changes


@pytest.fixture(scope="session")
def write_store() -> Callable[..., Path]:
    """`write_store(run, slide, features, bad=(), **attributes)` writes a store; `bad` rows are unreadable."""

    def write(
        run: Path, slide: str, x: NDArray[np.float32], bad: tuple[int, ...] = (), **changes: Any
    ) -> Path:
        status = np.zeros(len(x), np.uint8)
        status[list(bad)] = 1
        corners = np.stack([np.arange(len(x)) % 10, np.arange(len(x)) // 10], axis=1) * 100
        fixed = {
            "coords": corners.astype(np.int32),
            "tissue": np.ones(len(x), np.float16),
            "thumbnail": np.full((50, 100, 3), 200, np.uint8),
            "mask": np.ones((50, 100), np.uint8),
        }
        path = store_path(run, slide)
        with StoreWriter(path, fixed, x.shape[1]) as writer:
            writer.append(status, x[status == 0])
            writer.commit(attributes(slide, x.shape[1], **changes))
        return path

    return write


@pytest.fixture(scope="session")
def planted() -> Planted:
    """24 slides of 12 patients, and their labels as CSV; a fifth of a positive's patches differ."""
    random = np.random.default_rng(0)
    slides, lines = {}, ["slide,patient,label,site"]
    for number in range(24):
        x = random.normal(size=(random.integers(20, 40), 8)).astype(np.float32)
        positive = number // 2 % 2
        if positive:
            x[: len(x) // 5, 0] += 6
        slides[f"s{number:02}"] = x
        lines.append(f"s{number:02},patient {number // 2},{'tumour' if positive else 'normal'},x")
    return slides, "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def cohort(write_store: Callable[..., Path], planted: Planted, tmp_path_factory: Any) -> tuple[Path, Path]:
    """A run folder of the planted slides, patch 3 of each unreadable, and its labels. Do not change them."""
    folder = tmp_path_factory.mktemp("cohort")
    for slide, x in planted[0].items():
        write_store(folder / "run", slide, x, bad=(3,))
    (folder / "labels.csv").write_text(planted[1])
    return folder / "run", folder / "labels.csv"


@pytest.fixture
def own_cohort(cohort: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the cohort to change."""
    shutil.copytree(cohort[0], tmp_path / "run")
    shutil.copy(cohort[1], tmp_path / "labels.csv")
    return tmp_path / "run", tmp_path / "labels.csv"


@pytest.fixture
def benchmark_bags(real: Callable[[str], Path]) -> Callable[[str], tuple[Labels, dict[str, Bags]]]:
    """`benchmark_bags("musk1")` is its labels and single bags; every bag is a patient of its own."""

    def load(name: str) -> tuple[Labels, dict[str, Bags]]:
        data = np.load(real(f"features/mil_{name}.npz"))
        bags, entries = {}, []
        for bag, label in zip(data["bag_id"], data["bag_label"], strict=True):
            x = torch.from_numpy(data["X"][data["bag"] == bag])
            slide = f"bag{bag:03}"
            bags[slide] = Bags.single(x, torch.zeros(len(x), 2, dtype=torch.int32))
            entries.append(Entry(slide, f"patient {bag}", str(int(label))))
        return Labels.of(entries), bags

    return load
