"""The stream: in order, bounded, and one bad patch costs one patch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest

from slidestream.errors import ReadFailed
from slidestream.geometry import Region
from slidestream.status import read_one_by_one
from slidestream.tiling.grid import PatchGrid
from slidestream.tiling.spec import PatchSpec
from slidestream.tiling.stream import BATCHES_AHEAD, Reading, stream_patches


class Fake:
    """A source whose every patch is filled with a number made of its place."""

    size, spacing, bounds = (1000, 600), (1.0, 1.0), Region((0.0, 0.0), (1000.0, 600.0))

    def __init__(self) -> None:
        self.reads = 0
        self.lock = threading.Lock()

    def read_patches(self, regions: Sequence[Region], out: np.ndarray) -> np.ndarray:
        return read_one_by_one(self.read_patch, regions, out)

    def read_patch(self, region: Region, out_size: tuple[int, int]) -> np.ndarray | None:
        with self.lock:
            self.reads += 1
        x, y = region.origin
        time.sleep(0.0005 * ((x * 7 + y) % 5))  # finish out of order
        if (x, y) == (100, 0):
            raise ReadFailed("bad tile")
        return None if (x, y) == (0, 100) else np.full((*out_size[::-1], 3), (x + y) // 100, np.uint8)


GRID = PatchGrid.cover(Fake.bounds, Fake.spacing, PatchSpec(100, 1.0))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_every_patch_once_in_order_with_its_status(workers: int, batch_size: int) -> None:
    batches = list(stream_patches(Fake(), GRID, Reading(100, batch_size, workers)))  # type: ignore[arg-type]
    index = np.concatenate([b.index for b in batches])
    status = np.concatenate([b.status for b in batches])
    pixels = np.concatenate([b.pixels for b in batches])
    assert index.tolist() == list(range(60))
    assert {i: s for i, s in enumerate(status.tolist()) if s} == {1: 1, 10: 2}
    expected = (GRID.origins.sum(axis=1) // 100).astype(np.uint8)
    expected[[1, 10]] = 0
    assert pixels.shape == (60, 100, 100, 3)
    assert (pixels == expected[:, None, None, None]).all()
    assert max(len(b.index) for b in batches) == min(batch_size, 60)


def test_reading_ahead_is_bounded() -> None:
    source = Fake()
    stream = stream_patches(source, GRID, Reading(100, 5, 2))  # type: ignore[arg-type]
    next(stream)
    time.sleep(0.2)
    assert source.reads <= 5 * (2 + BATCHES_AHEAD)
    stream.close()


def test_closing_early_stops_the_readers() -> None:
    stream = stream_patches(Fake(), GRID, Reading(100, 5, 2))  # type: ignore[arg-type]
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("patch-reader")]


def test_a_defect_is_not_taken_for_a_bad_patch() -> None:
    class Broken(Fake):
        def read_patch(self, region: Region, out_size: tuple[int, int]) -> np.ndarray | None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(stream_patches(Broken(), GRID, Reading(100)))  # type: ignore[arg-type]


def test_batches_are_read_into_memory_the_caller_gives_in_their_order() -> None:
    slots = [np.full((7, 100, 100, 3), 255, np.uint8) for _ in range(5)]
    free, given = deque(slots), []

    def take() -> np.ndarray:
        given.append(free.popleft())
        return given[-1]

    reading = Reading(100, 7, 3)
    assert reading.batches == len(slots)
    for number, batch in enumerate(stream_patches(Fake(), GRID, reading, take)):  # type: ignore[arg-type]
        assert batch.pixels.base is given[number]
        assert batch.pixels.shape == (min(7, 60 - 7 * number), 100, 100, 3)
        expected = (GRID.origins[batch.index].sum(axis=1) // 100).astype(np.uint8)
        expected[batch.status != 0] = 0
        assert (batch.pixels == expected[:, None, None, None]).all()
        free.append(given[number])
    assert len(given) == 9
