"""The pixels that a slide's stain is fitted on: few, from all over its tissue, always the same."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..status import OK
from ..tiling.grid import PatchGrid
from ..tiling.source import PatchSource
from ..tiling.stream import Reading, stream_patches

MAX_PATCHES = 64
MAX_PIXELS_READ = 8_000_000
PIXELS_PER_PATCH = 2048
SEED = 0


def sample_pixels(source: PatchSource, grid: PatchGrid, reading: Reading) -> NDArray[np.uint8]:
    """Pixels uint8 (N, 3) of at most 64 patches of the grid, 2,048 of each, in random order.

    Patches that cannot be read are left out. The same grid gives the same pixels, whatever `reading`
    says of batches and threads.

    Args:
        grid: the patches with tissue.
    """
    few = min(MAX_PATCHES, max(1, MAX_PIXELS_READ // reading.size_px**2))
    chance = np.random.default_rng(SEED)
    chosen = grid.sample(few, SEED)
    parts = [np.empty((0, 3), np.uint8)]
    with closing(stream_patches(source, chosen, replace(reading, first=0))) as batches:
        for batch in batches:
            for patch, status in zip(
                batch.pixels.reshape(len(batch.pixels), -1, 3), batch.status, strict=True
            ):
                drawn = chance.integers(len(patch), size=PIXELS_PER_PATCH)
                if status == OK:
                    parts.append(patch[drawn])
    shuffled: NDArray[np.uint8] = chance.permutation(np.concatenate(parts))
    return shuffled
