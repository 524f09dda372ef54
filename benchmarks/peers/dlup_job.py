"""dlup: a tiled dataset with an array for a mask; its FastSlide or its OpenSlide backend."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
from dlup import SlideImage
from dlup.data.dataset import ImageConfig, MaskConfig, SlideDataset, TilingConfig
from dlup.tiling import TilingMode
from dlup.utils.backends import ImageBackend
from job import MIN_TISSUE, MPP, SIZE_PX, Pixels, run, tissue


def prepare(asked: argparse.Namespace) -> Iterator[Pixels]:
    backend = ImageBackend[asked.reader.upper()]
    with SlideImage.from_file_path(asked.slide, backend=backend) as slide:
        size = tuple(round(side * slide.mpp / 8) for side in slide.size)
        mask = tissue(slide.get_thumbnail(size).to_numpy())
    dataset = SlideDataset.from_standard_tiling(
        asked.slide,
        TilingConfig(mpp=MPP, tile_size=(SIZE_PX, SIZE_PX), tile_mode=TilingMode.skip),
        MaskConfig(mask.astype(np.int64), MIN_TISSUE),
        ImageConfig(backend),
    )
    return (np.ascontiguousarray(dataset[at].image.to_numpy()[..., :3]) for at in range(len(dataset)))


if __name__ == "__main__":
    run("dlup", version("dlup"), prepare)
