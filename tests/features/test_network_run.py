"""Whole runs with a small vision transformer: what they must not depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slidestream.cohort import process
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.job import Job
from slidestream.features.embedder import Embedder
from slidestream.features.encoder import load_encoder
from slidestream.features.store import open_store
from slidestream.tiling.spec import PatchSpec

from .zoo import tiny

NAME = "lunit-dino-s8"


@pytest.fixture
def job(
    tmp_path: Path,
    write_slide: Callable[..., Path],
    tissue_pixels: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Job:
    """98 patches of a slide, and an encoder that is loaded anew."""
    tiny(monkeypatch, tmp_path / "weights")
    process.cached_embedder.cache_clear()
    monkeypatch.setattr(process, "cached_embedder", lambda name, device, kind: fresh(name, kind))
    slide = write_slide(tmp_path / "a.tiff", tissue_pixels(900), 0.5)
    config = RunConfig(NAME, PatchSpec(32, 1.0, min_tissue=0.5))
    return Job(Input("a", str(slide)), config, tmp_path / "run", Execution())


def fresh(name: str, precision: str) -> Embedder:
    return Embedder(load_encoder(name), "cpu", precision)


def embedded(job: Job, name: str, **means: Any) -> np.ndarray:
    """The embeddings that a run with other means stores."""
    mine = replace(job, run=job.run / name, execution=replace(job.execution, **means))
    assert process.process(mine).status == "done"
    return open_store(mine.run / "embeddings/a.zarr").features()


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return torch.cosine_similarity(torch.from_numpy(ours), torch.from_numpy(theirs)).numpy()


def test_neither_batch_nor_workers_count(job: Job) -> None:
    usual = embedded(job, "usual")
    assert len(usual) > 64
    for size in (1, 7, 64):
        assert cosines(usual, embedded(job, f"of {size}", batch_size=size)).min() > 1 - 1e-5
    for workers in (1, 3):
        np.testing.assert_array_equal(usual, embedded(job, f"by {workers}", workers=workers))
    half = replace(job, config=replace(job.config, precision="bf16"))
    halves = embedded(half, "half")
    assert not np.array_equal(halves, usual)
    for size in (1, 7, 64):
        assert cosines(halves, embedded(half, f"half of {size}", batch_size=size)).min() > 0.999


def test_out_of_memory_above_eight(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, sizes = embedded(job, "usual"), []

    def small(name: str, _: str, kind: str) -> Embedder:
        embedder = fresh(name, kind)

        def look(_: Any, given: tuple[torch.Tensor]) -> None:
            sizes.append(len(given[0]))
            if sizes[-1] > 8:
                raise torch.OutOfMemoryError("made up")

        embedder.network.register_forward_pre_hook(look)
        return embedder

    monkeypatch.setattr(process, "cached_embedder", small)
    np.testing.assert_allclose(embedded(job, "small"), usual, atol=1e-5)
    assert [size for size in sizes if size > 8] == [16], "halved once, and remembered"
