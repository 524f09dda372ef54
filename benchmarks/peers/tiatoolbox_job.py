"""tiatoolbox: an Otsu tissue mask and the sliding-window patch extractor."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib.metadata import version

from job import MIN_TISSUE, MPP, SIZE_PX, Pixels, run
from tiatoolbox.tools.patchextraction import SlidingWindowPatchExtractor
from tiatoolbox.wsicore.wsireader import WSIReader


def prepare(asked: argparse.Namespace) -> Iterable[Pixels]:
    wsi = WSIReader.open(asked.slide)
    return SlidingWindowPatchExtractor(
        wsi,
        patch_size=SIZE_PX,
        input_mask=wsi.tissue_mask("otsu", resolution=8.0, units="mpp"),
        resolution=MPP,
        units="mpp",
        min_mask_ratio=MIN_TISSUE,
        within_bound=True,
    )


if __name__ == "__main__":
    run("tiatoolbox", version("tiatoolbox"), prepare)
