"""How many patches a device should take at once: measured, where nobody says."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from .embedder import Embedder

USUAL = 32
LARGEST = 256
"""The readers' shared memory holds a few times as many; and networks are fast enough by then."""
WORTH = 1.03
"""Twice as many patches at once must be this much faster to be worth their memory."""
ENOUGH_SECONDS = 0.5


def batch_that_pays(speed: Callable[[int], float]) -> int:
    """Doubled from 32 for as long as that pays, fits, and is not above 256.

    Args:
        speed: patches per second with so many at once; raises OutOfMemoryError where they do not fit.
    """
    size, before = USUAL, 0.0
    while size <= LARGEST:
        try:
            now = speed(size)
        except torch.OutOfMemoryError:
            break
        if now < before * WORTH:
            break
        size, before = size * 2, now
    return max(USUAL, size // 2)


def measured_batch(embedder: Embedder, device: str, side: int) -> int:
    """The batch of patches of `side` px that pays on a GPU, for an encoder that lies there."""

    def speed(size: int) -> float:
        pixels = torch.randint(0, 256, (size, side, side, 3), dtype=torch.uint8, device=device)
        embedder.on_device(pixels)  # the first one chooses its kernels
        torch.cuda.synchronize(device)
        start, done = time.perf_counter(), 0
        while (taken := time.perf_counter() - start) < ENOUGH_SECONDS:
            embedder.on_device(pixels)
            torch.cuda.synchronize(device)
            done += size
        return done / taken

    found = batch_that_pays(speed)
    torch.cuda.empty_cache()
    return found
