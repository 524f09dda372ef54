"""Patches in order, read ahead by threads, never more than a few batches in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadFailed
from .grid import Patch, PatchGrid
from .source import PatchSource

OK, UNREADABLE, OUTSIDE = 0, 1, 2
"""Values of `status`: the patch was read, could not be, lies outside the scanned area."""

BATCHES_AHEAD = 2


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
    """How to read: side of a patch in px, patches per batch, reader threads. Changes no result."""

    size_px: int
    batch_size: int = 32
    workers: int = 2


def stream_patches(source: PatchSource, grid: PatchGrid, reading: Reading) -> Iterator[PatchBatch]:
    """Every patch of the grid, in order, in batches.

    At most `BATCHES_AHEAD` batches are read before they are asked for. A patch that cannot be
    decoded costs that patch only. Closing the iterator stops the readers.
    """
    with ThreadPoolExecutor(max(1, reading.workers), thread_name_prefix="patch-reader") as pool:
        pending: deque[tuple[PatchBatch, list[Future[None]]]] = deque()
        try:
            for start in range(0, len(grid), reading.batch_size):
                pending.append(_submit(pool, source, grid[start : start + reading.batch_size], reading))
                if len(pending) > BATCHES_AHEAD:
                    yield _finished(*pending.popleft())
            while pending:
                yield _finished(*pending.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ThreadPoolExecutor, source: PatchSource, patches: list[Patch], reading: Reading
) -> tuple[PatchBatch, list[Future[None]]]:
    side = reading.size_px
    batch = PatchBatch(
        np.zeros((len(patches), side, side, 3), np.uint8),
        np.array([patch.index for patch in patches], np.int64),
        np.zeros(len(patches), np.uint8),
    )
    return batch, [pool.submit(_read, source, patch, batch, row) for row, patch in enumerate(patches)]


def _read(source: PatchSource, patch: Patch, batch: PatchBatch, row: int) -> None:
    side = batch.pixels.shape[1]
    try:
        pixels = source.read_patch(patch.region, (side, side))
    except ReadFailed:
        batch.status[row] = UNREADABLE
        return
    if pixels is None:
        batch.status[row] = OUTSIDE
    else:
        batch.pixels[row] = pixels


def _finished(batch: PatchBatch, reads: list[Future[None]]) -> PatchBatch:
    for read in reads:
        read.result()
    return batch
