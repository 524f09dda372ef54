"""Whatever is done to a run folder, in whatever order: complete stores equal the oracle, and verification
finds every corruption."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.plan import Step
from slidestream.cohort.process import Outcome
from slidestream.cohort.run import RunOrder, run_cohort, verify_run
from slidestream.errors import StoreError
from slidestream.features.card import EncoderCard
from slidestream.features.encoder import BUILDERS, Encoder
from slidestream.features.layout import list_stores, slide_id_of
from slidestream.features.store import open_store
from slidestream.tiling.spec import PatchSpec

SPEC = PatchSpec(32, 1.0, min_tissue=0.0)


class _Mean(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float().mean(dim=(2, 3))


@pytest.fixture(autouse=True, scope="module")
def _encoder() -> Any:
    card = EncoderCard("stateful-mean", "test", "1", "", "none", False, dim=3, input_px=32, patch_px=32)
    BUILDERS["stateful-mean"] = lambda: Encoder(card, _Mean())
    yield
    del BUILDERS["stateful-mean"]


class Watcher:
    """Stops the run, as Ctrl-C does, after so many reports of patches."""

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None:
        self.patience -= 1
        if self.patience < 0:
            raise KeyboardInterrupt


class RunFolder(RuleBasedStateMachine):
    """The model: which content each slide has, and the bytes each store had when it was finished."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        (self.root / "slides").mkdir()
        self.content: dict[str, int] = {}
        self.written: dict[str, int] = {}
        self.whole: dict[str, dict[str, bytes]] = {}

    @property
    def damaged(self) -> set[str]:
        """Stores that no longer hold the bytes they were finished with."""
        return {slide for slide in self.written if self._bytes(slide) != self.whole[slide]}

    def teardown(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    @rule(slide=st.sampled_from("abc"), seed=st.integers(0, 3))
    def add_or_change(self, slide: str, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 255, (300, 400, 3)).astype(np.uint8)
        options: Any = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
        resolution: Any = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(self.root / f"slides/{slide}.tiff", pixels, **options, **resolution)
        self.content[slide] = seed

    @precondition(lambda self: self.content)
    @rule(patience=st.one_of(st.none(), st.integers(0, 12)))
    def run(self, patience: int | None) -> None:
        """To the end, or interrupted somewhere."""
        inputs = find_inputs([self.root / "slides"]).inputs
        config = RunConfig("stateful-mean", SPEC)
        order = RunOrder(inputs, config, self.root / "run", Execution(batch_size=4, workers=1, readers=0))
        changed = {slide for slide, seed in self.content.items() if self.written.get(slide) != seed}
        try:
            run_cohort(order, Watcher(10**9 if patience is None else patience))
        except KeyboardInterrupt:
            for slide in changed:
                if self._holds(slide) == self.content[slide]:
                    self._now_whole(slide)
            return
        for slide in changed:
            self._now_whole(slide)
        assert all(self._bytes(slide).keys() == self.whole[slide].keys() for slide in self.content)

    @precondition(lambda self: self.written)
    @rule(seed=st.integers(0, 10**6))
    def corrupt(self, seed: int) -> None:
        """Flip a byte of a chunk, or lose the chunk."""
        rng = random.Random(seed)
        slide = rng.choice(sorted(self.written))
        store = self.root / f"run/embeddings/{slide}.zarr"
        chunks = sorted(path for path in store.rglob("c/*") if path.is_file())
        chunks += sorted(path for path in store.rglob("c/*/*") if path.is_file())
        if not chunks:
            return
        chunk = rng.choice(chunks)
        data = bytearray(chunk.read_bytes())
        if rng.random() < 0.3:
            chunk.unlink()
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            chunk.write_bytes(data)

    @precondition(lambda self: self.damaged)
    @rule()
    def verify(self) -> None:
        """Verification names exactly what was damaged, and the next run heals it."""
        found = {problem.slide_id for _, problems in verify_run(self.root / "run") for problem in problems}
        assert found == self.damaged
        self.run(None)
        assert not any(problems for _, problems in verify_run(self.root / "run"))
        assert self.damaged == set()

    @invariant()
    def whole_stores_equal_the_oracle(self) -> None:
        for path in list_stores(self.root / "run"):
            slide = slide_id_of(path)
            if slide in self.written and slide not in self.damaged:
                expected = _oracle(self.written[slide])
                np.testing.assert_allclose(open_store(path).features(), expected, atol=2.0)

    def _now_whole(self, slide: str) -> None:
        self.written[slide] = self.content[slide]
        self.whole[slide] = self._bytes(slide)

    def _holds(self, slide: str) -> int | None:
        """Which content the slide's store is of, by its pixels."""
        try:
            features = open_store(self.root / f"run/embeddings/{slide}.zarr").features()
        except StoreError:
            return None
        return next((s for s in range(4) if np.allclose(features, _oracle(s), atol=2.0)), None)

    def _bytes(self, slide: str) -> dict[str, bytes]:
        store = self.root / f"run/embeddings/{slide}.zarr"
        return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def _oracle(seed: int) -> np.ndarray:
    """Mean colours of the 64 px squares of a slide, from the pixels it was written with."""
    pixels = np.random.default_rng(seed).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    squares = pixels[:256, :384].reshape(4, 64, 6, 64, 3).astype(float)
    means: np.ndarray = squares.mean(axis=(1, 3)).reshape(24, 3)
    return means


RunFolder.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=15,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
TestRunFolder = RunFolder.TestCase
