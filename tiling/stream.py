"""Patches in order, read ahead by threads, never more than a few batches in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grid import Patch, PatchGrid
from .source import Readable

BATCHES_AHEAD = 2

Take = Callable[[], NDArray[np.uint8]]
"""Memory for one batch: uint8 (B, H, W, 3) of a whole batch, or more rows."""


@dataclass(frozen=True)
class PatchBatch:
    """Neighbouring rows of a grid, read.

    Attributes:
        pixels: uint8 (B, H, W, 3); zeros where the status is not 0.
        index: rows of the grid, int64 (B,).
        status: uint8 (B,): 0 ok, 1 unreadable, 2 outside the scanned area.
    """

    pixels: NDArray[np.uint8]
    index: NDArray[np.int64]
    status: NDArray[np.uint8]


@dataclass(frozen=True)
class Reading:
    """How to read; changes no result.

    Attributes:
        size_px: side of a patch.
        batch_size: patches per batch.
        workers: reader threads.
        first: row of the grid to begin at, where those before it are done already.
    """

    size_px: int
    batch_size: int = 32
    workers: int = 2
    first: int = 0

    @property
    def batches(self) -> int:
        """The most batches that exist at a time: one with the caller, the others read or being read."""
        return self.workers + BATCHES_AHEAD

    def fresh(self) -> NDArray[np.uint8]:
        """New memory for one batch."""
        return np.empty((self.batch_size, self.size_px, self.size_px, 3), np.uint8)


def stream_patches(
    source: Readable, grid: PatchGrid, reading: Reading, take: Take | None = None
) -> Generator[PatchBatch, None, None]:
    """Every patch of the grid, in order, in batches.

    Each thread reads a whole batch; at most `reading.batches` exist at a time. A patch that cannot
    be decoded costs that patch only. Closing the iterator stops the readers.

    Args:
        take: gives the memory that the next batch is read into. It is called in the order of the
            batches and may wait: memory comes back to it however the caller arranges that. By
            default every batch has memory of its own.
    """
    take = take or reading.fresh
    with ThreadPoolExecutor(reading.workers, thread_name_prefix="patch-reader") as pool:
        pending: deque[Future[PatchBatch]] = deque()
        try:
            for start in range(reading.first, len(grid), reading.batch_size):
                patches = grid[start : start + reading.batch_size]
                pending.append(pool.submit(_read, source, patches, take()[: len(patches)]))
                if len(pending) >= reading.batches:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read(source: Readable, patches: list[Patch], pixels: NDArray[np.uint8]) -> PatchBatch:
    status = source.read_patches([patch.region for patch in patches], pixels)
    return PatchBatch(pixels, np.array([patch.index for patch in patches], np.int64), status)
