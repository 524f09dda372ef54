"""The tissue step of a slide beyond reading its thumbnail, by segmenter, and the quality of its patches.

    python benchmarks/bench_tissue.py [SLIDE]

Without a slide a picture of 1,000 x 2,048 px is drawn. The reference, measured in the same call, is the
plain way with scikit-image: saturation, Otsu, closing, opening, small objects and holes; it knows no ink.
Each figure is the best of several, as milliseconds; the machine's other work only adds to them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from skimage.color import rgb2hsv
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import closing, disk, opening, remove_small_holes, remove_small_objects
from timing import best

from slidestream.tiling.annotations import tissue_annotations
from slidestream.tiling.focus import blur_um
from slidestream.tiling.ink import find_ink
from slidestream.tiling.picture import Picture
from slidestream.tiling.segment import segment
from slidestream.tiling.spec import SEGMENTERS, TissueSpec
from slidestream.wsi.slide import open_slide

REPEATS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path, nargs="?")
    asked = parser.parse_args()
    rgb, spacing = of_slide(asked.slide) if asked.slide else drawn()
    whole = np.ones(rgb.shape[:2], bool)
    print(f"{rgb.shape[1]} x {rgb.shape[0]} px at {spacing:.1f} µm")
    plain = told("scikit-image, plain", lambda: reference(rgb, spacing))
    for name in SEGMENTERS:
        if name != "dark":
            found = told(f"tissue step, {name}", lambda n=name: segment(fresh(rgb, spacing), TissueSpec(n)))
            print(f"{'':4}{plain / found:.2f} times the plain way's speed")
    told("of which ink", lambda: find_ink(fresh(rgb, spacing)))
    mask = segment(Picture(rgb, whole, spacing), TissueSpec()).mask
    told("mask to polygons", lambda: tissue_annotations(mask, (100_000, 200_000)))
    patches = np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3)).astype(np.uint8)
    seconds = told("focus of 32 patches of 224 px", lambda: blur_um(patches, 0.5))
    print(f"{'':4}{len(patches) / seconds:.0f} patches/s on one core")


def told(what: str, job: Callable[[], Any]) -> float:
    """Print and return the best time of a job."""
    seconds = best(job, REPEATS)
    print(f"{what:<32}{seconds * 1000:8.1f} ms")
    return seconds


def fresh(rgb: np.ndarray, spacing: float) -> Picture:
    """A picture of which nothing is computed yet."""
    return Picture(rgb, np.ones(rgb.shape[:2], bool), spacing)


def reference(rgb: np.ndarray, spacing: float) -> np.ndarray:
    saturation = gaussian(rgb2hsv(rgb)[..., 1], 8 / spacing)
    mask = saturation > threshold_otsu(saturation)
    mask = opening(closing(mask, disk(round(24 / spacing))), disk(round(12 / spacing)))
    px = int(0.02 / (spacing / 1000) ** 2)
    return np.asarray(remove_small_holes(remove_small_objects(mask, max_size=px), max_size=px))


def of_slide(path: Path) -> tuple[np.ndarray, float]:
    spec = TissueSpec()
    start = time.perf_counter()
    with open_slide(path) as slide:
        rgb, _ = slide.overview(spec.spacing, spec.max_px)
        spacing = slide.size[0] * slide.spacing[0] / rgb.shape[1]
    print(f"{'opening and reading the thumbnail':<32}{(time.perf_counter() - start) * 1000:8.1f} ms")
    return rgb, spacing


def drawn() -> tuple[np.ndarray, float]:
    """Two pink sections with holes on noisy glass, and a green stroke."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:2048, :1000]
    rgb = np.full((2048, 1000, 3), 243.0)
    for middle in (560, 1500):
        radius = np.hypot(x - 480, y - middle)
        rgb[(radius < 420) & (radius > 150)] = (215, 155, 190)
    rgb[1000:1040, 100:900] = (60, 160, 140)
    return (rgb + rng.normal(0, 4, rgb.shape)).clip(0, 255).astype(np.uint8), 9.1


if __name__ == "__main__":
    main()
