"""What the jobs share: the clock, and the touch that shows every patch was decoded."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZE_PX = 224
MPP = 0.5
SLIDE_MPP = 0.25
MIN_TISSUE = 0.25

Pixels = NDArray[np.uint8]


def run(peer: str, version: str, prepare: Callable[[argparse.Namespace], Iterable[Pixels]]) -> None:
    """Time a job and print it as one line of JSON.

    Args:
        prepare: opens the slide named `slide`, segments it, lays out the patches, and returns what yields
            them, one (H, W, 3) or a batch (B, H, W, 3) at a time. `reader` and `workers` are hints.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("slide", type=Path)
    parser.add_argument("--reader")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    asked.slide.read_bytes()  # for all jobs alike the file is in the memory of the operating system
    start, cpu = time.perf_counter(), time.process_time()
    patches = prepare(asked)
    reading = time.perf_counter()
    count, total = _touch(patches)
    end = time.perf_counter()
    figures = {
        "peer": peer,
        "version": version,
        "patches": count,
        "seconds": end - start,
        "read_seconds": end - reading,
        "cpu_seconds": time.process_time() - cpu,
        "mean": total / max(1, count),
    }
    print(json.dumps(figures))


def tissue(rgb: Pixels) -> NDArray[np.bool_]:
    """A plain mask, for the jobs whose library brings none: coloured is tissue."""
    mask: NDArray[np.bool_] = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2) > 20
    return mask


def _touch(patches: Iterable[Pixels]) -> tuple[int, float]:
    """How many, and the sum of their mean brightness, from a sample of the pixels of each."""
    count, total = 0, 0.0
    for pixels in patches:
        batch = pixels.reshape(-1, *pixels.shape[-3:])
        if batch.shape[1:] != (SIZE_PX, SIZE_PX, 3) or batch.dtype != np.uint8:
            raise ValueError(f"A patch is {batch.dtype} {batch.shape[1:]}.")
        if batch.max() == 0:
            raise ValueError("A patch is black.")
        count += len(batch)
        total += float(batch[:, ::16, ::16].mean(axis=(1, 2, 3)).sum())
    return count, total
