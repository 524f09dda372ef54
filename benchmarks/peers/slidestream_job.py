"""slidestream, through its public API."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import tifffile  # noqa: F401 - else imported on the clock
from job import MIN_TISSUE, MPP, SIZE_PX, Pixels, run

import slidestream as ss
from slidestream.tiling.tissue import tissue_fraction

NAMES = (ss.open_slide, ss.overview, ss.PatchGrid, ss.PatchSpec, ss.Reading, ss.stream_patches)
"""Imported when first named: here, before the clock runs."""


def prepare(asked: argparse.Namespace) -> Iterator[Pixels]:
    slide = ss.open_slide(asked.slide)
    found = ss.overview(slide)
    spec = ss.PatchSpec(SIZE_PX, MPP, min_tissue=MIN_TISSUE)
    grid = ss.PatchGrid.cover(slide.bounds, slide.spacing, spec)
    grid = grid.keep(tissue_fraction(found.mask, found.covers, grid) >= MIN_TISSUE)
    batches = ss.stream_patches(slide, grid, ss.Reading(SIZE_PX, workers=asked.workers))
    return (batch.pixels for batch in batches)


if __name__ == "__main__":
    if "torch" in sys.modules:
        raise SystemExit("torch was imported")
    run("slidestream", ss.__version__, prepare)
