"""What became of a patch, and how a source that reads patches one by one fills a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import ReadFailed
from .geometry import Region

OK, UNREADABLE, OUTSIDE, PEN, BLUR = 0, 1, 2, 3, 4
"""The patch was read, could not be decoded, lies outside the scanned area, or was excluded by a rule of
quality that somebody asked for: it shows pen, or is out of focus."""

NAMES = {OK: "ok", UNREADABLE: "unreadable", OUTSIDE: "outside", PEN: "pen", BLUR: "blur"}
RULES = {"pen": PEN, "blur": BLUR}
"""Rules of quality by name, and the status of a patch that one of them excludes."""

ReadPatch = Callable[[Region, tuple[int, int]], NDArray[np.uint8] | None]


def read_one_by_one(
    read_patch: ReadPatch, regions: Sequence[Region], out: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Fill `out`, uint8 (B, H, W, 3), with one patch per region; returns the status (B,).

    A patch whose status is not 0 is left zero: it costs that patch and no other.
    """
    status = np.zeros(len(regions), np.uint8)
    for row, region in enumerate(regions):
        try:
            pixels = read_patch(region, (out.shape[2], out.shape[1]))
        except ReadFailed:
            status[row], out[row] = UNREADABLE, 0
            continue
        if pixels is None:
            status[row], out[row] = OUTSIDE, 0
        else:
            out[row] = pixels
    return status
