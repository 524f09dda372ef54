"""Slideflow: Otsu quality control and the tile generator without a pool; libvips, or cuCIM on the CPU.

Wants SF_BACKEND=torch and SF_SLIDE_BACKEND in the environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import version

import cucim.clara  # noqa: F401 - first: its import does not return once torch is loaded
import slideflow as sf
from job import MPP, SIZE_PX, SLIDE_MPP, Pixels, run
from slideflow.slide import qc
from slideflow.slide.backends import cucim as _cucim  # noqa: F401 - else imported on the clock
from slideflow.slide.backends import vips as _vips  # noqa: F401


def prepare(asked: argparse.Namespace) -> Iterator[Pixels]:
    if asked.reader != sf.slide_backend():
        raise ValueError(f"The backend is {sf.slide_backend()}.")
    # Its readers find no mpp in a generic TIFF; it is told.
    um = round(SIZE_PX * MPP)
    wsi = sf.WSI(str(asked.slide), tile_px=SIZE_PX, tile_um=um, mpp=SLIDE_MPP, verbose=False)
    wsi.qc(qc.Otsu())
    generator = wsi.build_generator(
        shuffle=False, num_processes=1, num_threads=1, whitespace_fraction=1, grayspace_fraction=1
    )
    return (tile["image"] for tile in generator())


if __name__ == "__main__":
    run("Slideflow", version("slideflow"), prepare)
