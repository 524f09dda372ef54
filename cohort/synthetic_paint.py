"""A plan's pixels, one block after another: soft parts, collagen, nuclei and noise, then colour."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .synthetic_field import Field
from .synthetic_nuclei import Nuclei
from .synthetic_plan import SlidePlan
from .synthetic_stain import DENSITY_STEP, DENSITY_ZERO, colour_table
from .synthetic_stamp import stamps
from .synthetic_texture import BLOCK, PERIOD, fibres, grain

Pixels = NDArray[np.uint8]

PAD = 96
"""More px than the largest stamp reaches: nuclei need no clipping at a band's edges."""


class Painter:
    """Paints one slide in blocks of `BLOCK` px; the last ones may overhang it.

    Args:
        plan: of the slide.

    Attributes:
        side: of the slide in px.
    """

    def __init__(self, plan: SlidePlan) -> None:
        self._plan = plan
        self.side = plan.spec.side_px
        self._blocks = -(-self.side // BLOCK)
        layers = plan.layers
        self._layers = [self._image(field) for field in (layers.eosin, layers.haematoxylin, layers.fibre)]
        self._table = np.ascontiguousarray(colour_table(plan.stain)).view(np.uint32).ravel()
        self._fibres = fibres(plan.spec.seed, plan.mpp)
        self._grain = grain(plan.spec.seed)
        self._stamps = stamps(plan.spec.seed, plan.mpp)
        self._step = BLOCK * plan.mpp / layers.spacing

    def rows(self) -> Iterator[list[Pixels | None]]:
        """Rows of blocks from top to bottom, each uint8 (BLOCK, BLOCK, 3), or None for empty glass."""
        for row in range(self._blocks):
            nuclei = self._nuclei(row)
            yield [self._block(row, column, nuclei) for column in range(self._blocks)]

    def glass(self) -> Pixels:
        """A block of empty glass, uint8 (BLOCK, BLOCK, 3)."""
        return self._colour(self._grain[0], self._grain[1])

    def _image(self, field: Field) -> Image.Image:
        """A layer in density levels, continued by empty glass to whole blocks, ready to be enlarged."""
        reach = self._blocks * BLOCK * self._plan.mpp / self._plan.layers.spacing
        beyond = int(np.ceil(reach)) + 1 - len(field)
        levels = np.round(field / DENSITY_STEP).clip(0, 255).astype(np.uint8)
        return Image.fromarray(np.pad(levels, (0, beyond)))

    def _block(self, row: int, column: int, nuclei: NDArray[np.uint8]) -> Pixels | None:
        box = (column * self._step, row * self._step, (column + 1) * self._step, (row + 1) * self._step)
        around = [int(box[0]) - 1, int(box[1]) - 1, int(box[2]) + 2, int(box[3]) + 2]
        if not self._layers[0].crop(tuple(np.maximum(around, 0))).getbbox():
            return None
        eosin, blue, swing = (self._enlarged(layer, box) for layer in self._layers)
        y, x = row * BLOCK % PERIOD, column * BLOCK % PERIOD
        eosin += swing * self._fibres[y : y + BLOCK, x : x + BLOCK] >> 7
        left = PAD + column * BLOCK
        blue += nuclei[PAD : PAD + BLOCK, left : left + BLOCK]
        return self._colour(blue + self._grain[0], eosin + self._grain[1])

    def _enlarged(self, layer: Image.Image, box: tuple[float, float, float, float]) -> NDArray[np.int16]:
        enlarged = layer.resize((BLOCK, BLOCK), Image.Resampling.BILINEAR, box=box)
        return np.asarray(enlarged).astype(np.int16)

    def _nuclei(self, row: int) -> NDArray[np.uint8]:
        """Haematoxylin levels of one row of blocks with `PAD` px around it, uint8."""
        band = np.zeros((BLOCK + 2 * PAD, self._blocks * BLOCK + 2 * PAD), np.uint8)
        for nucleus, x, y in self._in_band(row):
            stamp = self._stamps[nucleus["kind"]][nucleus["shape"]]
            half = len(stamp) // 2
            window = band[y - half : y + half + 1, x - half : x + half + 1]
            np.maximum(window, stamp, out=window)
        return band

    def _in_band(self, row: int) -> Iterator[tuple[np.void, int, int]]:
        """The nuclei that reach into a row of blocks, and where in its padded band they are, in px."""
        nuclei, mpp = self._plan.nuclei, self._plan.mpp
        top = row * BLOCK - PAD // 2
        first, last = np.searchsorted(nuclei["y"], [top * mpp, (top + BLOCK + PAD) * mpp])
        near: Nuclei = nuclei[first:last]
        x = (near["x"] / mpp).astype(np.intp) + PAD
        y = (near["y"] / mpp).astype(np.intp) - row * BLOCK + PAD
        return zip(near, x.tolist(), y.tolist(), strict=True)

    def _colour(self, blue: NDArray[np.int16], eosin: NDArray[np.int16]) -> Pixels:
        rows, columns = (np.clip(levels + DENSITY_ZERO, 0, 255).astype(np.uint16) for levels in (blue, eosin))
        pixels = self._table[rows * np.uint16(256) + columns]
        return np.ascontiguousarray(pixels.view(np.uint8).reshape(*blue.shape, 4)[..., :3])
