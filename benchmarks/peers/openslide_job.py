"""The plain OpenSlide loop, averaging where the slide is finer: the reference that everybody knows."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import openslide
from job import MIN_TISSUE, MPP, SIZE_PX, Pixels, run, tissue


def prepare(asked: argparse.Namespace) -> Iterator[Pixels]:
    slide = openslide.OpenSlide(asked.slide)
    step = round(SIZE_PX * MPP / float(slide.properties["openslide.mpp-x"]))
    factor, rest = divmod(step, SIZE_PX)
    if rest:
        raise ValueError("The loop averages whole px: it wants a slide whose mpp divides 0.5 µm.")
    columns, rows = (side // step for side in slide.dimensions)
    # Sixteen px of thumbnail to a patch: 7 µm per px.
    width, height = (side * 16 // step for side in slide.dimensions)
    mask = tissue(np.asarray(slide.get_thumbnail((width, height)).resize((width, height)).convert("RGB")))
    cells = mask[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16).mean(axis=(1, 3))

    def patches() -> Iterator[Pixels]:
        for row, column in np.argwhere(cells >= MIN_TISSUE):
            at = (int(column) * step, int(row) * step)
            yield np.asarray(slide.read_region(at, 0, (step, step)).convert("RGB").reduce(factor))

    return patches()


if __name__ == "__main__":
    run("OpenSlide loop", openslide.__library_version__, prepare)
