"""What is wrong with a slide or with a patch of it: ink, blur, brightness; fast and classical."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..geometry import Region
from ..spec import Spec
from ..status import OK, RULES
from .focus import LUMA, blur_um
from .grid import PatchGrid
from .ink import COLOURS
from .overview import Overview
from .source import Readable
from .spec import QualitySpec
from .tissue import tissue_fraction

SHARP_PX = 3.6
"""`focus.blur_um` in px of the patch below which it is as sharp as its own pixels allow."""


@dataclass(frozen=True)
class SlideQuality(Spec):
    """A slide as a whole, from its overview.

    Attributes:
        tissue_mm2: area of the tissue.
        pieces: how many pieces it is in.
        pen_black_mm2, pen_red_mm2, pen_green_mm2, pen_blue_mm2: area of the ink.
        glass: median brightness of what is neither, 0 to 255; -1 where there is none.
        tissue: median brightness of the tissue, same scale.
    """

    tissue_mm2: float
    pieces: int
    pen_black_mm2: float
    pen_red_mm2: float
    pen_green_mm2: float
    pen_blue_mm2: float
    glass: float
    tissue: float


def slide_quality(look: Overview, spacing: Sequence[float]) -> SlideQuality:
    """Measure a slide on its overview.

    Args:
        spacing: µm per level-0 px, (x, y).
    """
    height, width = look.mask.shape
    pixel_mm2 = look.covers[0] * spacing[0] / width * look.covers[1] * spacing[1] / height / 1e6
    brightness, tissue = look.thumbnail @ LUMA, look.footprint > 0
    ink = [round(float((look.ink == label).sum()) * pixel_mm2, 4) for label in range(1, len(COLOURS) + 1)]
    black, red, green, blue = ink
    return SlideQuality(
        round(float(look.mask.sum()) * pixel_mm2, 4),
        int(ndimage.label(look.mask)[1]),
        black,
        red,
        green,
        blue,
        _median(brightness[~tissue]),
        _median(brightness[tissue]),
    )


def _median(values: NDArray[np.float32]) -> float:
    return round(float(np.median(values)), 1) if values.size else -1.0


@dataclass(frozen=True, eq=False)
class PatchQuality:
    """Patches one by one.

    Attributes:
        pen: fraction that is ink, of whatever colour (N,).
        blur_um: see `focus.blur_um`; NaN where flat or not read (N,).
        brightness: mean, 0 to 255; NaN where not read (N,).
    """

    pen: NDArray[np.float64]
    blur_um: NDArray[np.float32]
    brightness: NDArray[np.float32]


class Judged:
    """A source whose patches get a status that says by which rule they are excluded.

    Args:
        source: what is read.
        look: at the same source.
        spec: the rules.
        spacing: of the patches, in µm per px.
    """

    def __init__(self, source: Readable, look: Overview, spec: QualitySpec, spacing: float) -> None:
        self._source = source
        self._ink, self._covers = look.ink > 0, look.covers
        self._spec, self._spacing = spec, spacing

    def read_patches(self, regions: Sequence[Region], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As the source's; a patch that was read and breaks a rule gets that rule's status."""
        status = self._source.read_patches(regions, out)
        for rule in self._spec.exclude:
            rows = np.flatnonzero(status == OK).tolist()
            broken = self._breaks(rule, [regions[row] for row in rows], out[rows])
            status[np.array(rows, int)[broken]] = RULES[rule]
        return status

    def measure(self, regions: Sequence[Region], out: NDArray[np.uint8]) -> PatchQuality:
        """Read patches into `out`, uint8 (B, H, W, 3), and measure each."""
        status = self._source.read_patches(regions, out)
        lost = status != OK
        blur = blur_um(out, self._spacing)
        brightness = np.array([(patch @ LUMA).mean() for patch in out], np.float32)
        blur[lost], brightness[lost] = np.nan, np.nan
        return PatchQuality(self._pen(regions), blur, brightness)

    def _breaks(self, rule: str, regions: Sequence[Region], pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        if not regions:
            return np.zeros(0, bool)
        if rule == "pen":
            return self._pen(regions) > self._spec.max_pen
        # A coarse patch cannot be sharper than its pixels; one that is flat is not out of focus.
        return blur_um(pixels, self._spacing) > max(self._spec.max_blur_um, SHARP_PX * self._spacing)

    def _pen(self, regions: Sequence[Region]) -> NDArray[np.float64]:
        origins = np.array([region.origin for region in regions], np.int32)
        return tissue_fraction(self._ink, self._covers, PatchGrid(origins, regions[0].extent))
