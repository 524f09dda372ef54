"""The stain of a slide, from few pixels from all over its tissue, always the same ones."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import StainUnfit
from ..status import OK
from ..tiling.grid import PatchGrid
from ..tiling.source import PatchSource
from ..tiling.stream import Reading, stream_patches
from .fitting import INSTEAD, fit
from .spec import StainFit, StainSpec

MAX_PATCHES = 64
MAX_PIXELS_READ = 8_000_000
PIXELS_PER_PATCH = 2048
SEED = 0
BATCH = 8


@dataclass(frozen=True)
class Tissue:
    """Where a slide's stain is.

    Attributes:
        grid: the patches with tissue.
        background: "bright" or "dark", see `Overview`.
    """

    source: PatchSource
    grid: PatchGrid
    background: str


def fit_as_asked(asked: StainSpec, tissue: Tissue, reading: Reading) -> StainFit | None:
    """The fit of one slide; None where there is no tissue, or where it may be encoded as it is.

    Raises:
        StainUnfit: its stain cannot be fitted, and that was not allowed.
    """
    if not len(tissue.grid):
        return None
    try:
        return fit_slide(asked.method, tissue, reading)
    except StainUnfit:
        if asked.allow_unnormalised:
            return None
        raise


def fit_slide(method: str, tissue: Tissue, reading: Reading) -> StainFit:
    """The fit of one slide.

    Raises:
        StainUnfit: it is fluorescence, has too little tissue, or no haematoxylin and eosin.
    """
    if not len(tissue.grid):
        raise StainUnfit("No tissue was found on it.", INSTEAD)
    if tissue.background == "dark":
        raise StainUnfit("It is fluorescence on black, not a stain on bright glass.", INSTEAD)
    return fit(method, sample_pixels(tissue.source, tissue.grid, reading))


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
    with closing(stream_patches(source, chosen, replace(reading, batch_size=BATCH, first=0))) as batches:
        for batch in batches:
            for patch, status in zip(
                batch.pixels.reshape(len(batch.pixels), -1, 3), batch.status, strict=True
            ):
                drawn = chance.integers(len(patch), size=PIXELS_PER_PATCH)
                if status == OK:
                    parts.append(patch[drawn])
    shuffled: NDArray[np.uint8] = chance.permutation(np.concatenate(parts))
    return shuffled
