"""LazySlide: find_tissues, tile_tissues, the tile dataset; with wsidata's default reader or a named one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import version

import lazyslide as zs
from job import MIN_TISSUE, MPP, SIZE_PX, Pixels, run
from wsidata import open_wsi
from wsidata.dataset.image import TileImagesDataset


def prepare(asked: argparse.Namespace) -> Iterator[Pixels]:
    wsi = open_wsi(asked.slide, reader=asked.reader, store=None)
    zs.pp.find_tissues(wsi, level=-1)  # its fastest: the smallest level
    zs.pp.tile_tissues(wsi, SIZE_PX, mpp=MPP, background_fraction=1 - MIN_TISSUE)
    dataset = TileImagesDataset(wsi)
    return (dataset[at]["image"] for at in range(len(dataset)))


if __name__ == "__main__":
    run("LazySlide", version("lazyslide"), prepare)
