"""Benchmark slides: the same drawn tissue in the ways that scanners lay out their files.

    python benchmarks/slides.py A B D -o DIR [--side 20400] [--mpp 0.5] [--full]

| layout | tiles | colours in the JPEG | quality | family |
| --- | --- | --- | --- | --- |
| A | 256 px | YCbCr 4:2:0 | 80 | generic TIFF, each level half of the one before |
| B | 240 px | RGB, no colour transform, tables apart from the tiles | 30 | Aperio, each level a quarter |
| C | 256 px | YCbCr 4:4:4 | 80 | generic TIFF, each level half of the one before |
| D | 256 px | RGB, no colour transform | 80 | Aperio, each level a quarter |
| E | 256 px | YCbCr 4:2:0 | 80 | generic TIFF, each level a quarter |

The tissue is drawn from one seed: eosin with fibres, nuclei in hematoxylin, sensor noise. It repeats
after 4032 px, which is no multiple of a tile, and covers half of the slide, with an irregular outline
on white glass; with `full` all of it. Level 0 has 0.5 µm per px unless asked otherwise; sizes of fibres
and nuclei are in microns. A slide is drawn and written tile by tile and kept: an existing file is complete.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import fft

VERSION = 1
"""Part of each file name: to be raised when the same arguments draw another slide."""

PERIOD = 4032
HALO = 256
"""The drawn block is continued by so much, so that no tile has to be put together."""

OUTLINE = 129
"""Points along a side of the tissue's outline, whatever the size of the slide."""

SMALLEST = 512
"""No level is smaller."""

HEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
GLASS = np.array([243, 241, 244], np.float32)


@dataclass(frozen=True)
class Layout:
    """How a scanner family stores its pixels."""

    tile: int
    colours: str
    subsampling: str | None
    quality: int
    aperio: bool = False
    tables_apart: bool = False
    step: int = 4
    """From one level to the next."""


LAYOUTS = {
    "A": Layout(256, "ycbcr", "420", 80, step=2),
    "B": Layout(240, "rgb", None, 30, aperio=True, tables_apart=True),
    "C": Layout(256, "ycbcr", "444", 80, step=2),
    "D": Layout(256, "rgb", None, 80, aperio=True),
    "E": Layout(256, "ycbcr", "420", 80),
}


def build(layout: str, folder: Path, side: int = 20400, *, mpp: float = 0.5, full: bool = False) -> Path:
    """The file of a benchmark slide, drawn if it is not there yet."""
    how = LAYOUTS[layout]
    suffix = "svs" if how.aperio else "tiff"
    path = Path(folder) / f"{layout}-{side}px-{mpp:g}um{'-full' * full}-v{VERSION}.{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            _write(unfinished, Painting(side, mpp, full), how)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


class Painting:
    """What the slides show, at any level."""

    def __init__(self, side: int, mpp: float, full: bool = False) -> None:
        self.side = side
        self.mpp = mpp
        self.outline = None if full else _outline()

    def draw(self, x: int, y: int, size: int, down: int = 1) -> NDArray[np.uint8]:
        """A square of uint8 (size, size, 3) at px (x, y) of the level `down` times smaller."""
        cover = self._cover(x, y, size, down)
        if cover is None or cover.min() >= 1:
            return self._texture(0, x, y, size, down)
        if cover.max() <= 0:
            return self._texture(1, x, y, size, down)
        tissue, glass = (self._texture(kind, x, y, size, down).astype(np.float32) for kind in (0, 1))
        return np.rint(glass + cover[..., None] * (tissue - glass)).astype(np.uint8)

    def _texture(self, kind: int, x: int, y: int, size: int, down: int) -> NDArray[np.uint8]:
        block, period = _block(self.mpp, down)[kind], PERIOD // down
        return block[y % period :, x % period :][:size, :size]

    def _cover(self, x: int, y: int, size: int, down: int) -> NDArray[np.float32] | None:
        """How much of each px is tissue: the outline, bilinear, with an edge of some px."""
        if self.outline is None:
            return None
        scale = (OUTLINE - 1) * down / self.side
        rows, columns = (
            _between((start + np.arange(size, dtype=np.float32) + 0.5) * scale) for start in (y, x)
        )
        local = self.outline[rows[0] : rows[1], columns[0] : columns[1]]
        return (rows[2] @ local @ columns[2].T * (self.side / 16) / down + 0.5).clip(0, 1)


def _between(at: NDArray[np.float32]) -> tuple[int, int, NDArray[np.float32]]:
    """First and last point needed along an axis, and the bilinear weights of those between."""
    at = at.clip(0, OUTLINE - 1.001)
    first, last = int(at[0]), int(at[-1]) + 2
    return first, last, (1 - np.abs(at[:, None] - np.arange(first, last))).clip(0).astype(np.float32)


def _noise(rng: np.random.Generator, side: int, wave: tuple[float, float]) -> NDArray[np.float32]:
    """Smooth periodic noise of unit variance with features of about `wave` px along (y, x)."""
    fy, fx = fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None]
    keep = np.exp(-2 * ((fy * wave[0]) ** 2 + (fx * wave[1]) ** 2)).astype(np.float32)
    white = fft.rfft2(rng.standard_normal((side, side), np.float32))
    smooth: NDArray[np.float32] = fft.irfft2(white * keep, (side, side))
    return smooth / smooth.std()


def _outline() -> NDArray[np.float32]:
    """Positive inside the tissue, which is half of the slide."""
    rng = np.random.default_rng(7)
    steps = np.linspace(-1, 1, OUTLINE, dtype=np.float32)
    rough = sum(_noise(rng, OUTLINE, (wave, wave)) * weight for wave, weight in ((40, 0.22), (10, 0.07)))
    field = rough - np.hypot(steps[:, None], steps[None] * 0.9)
    return (field - np.median(field)).astype(np.float32)


@lru_cache(maxsize=16)
def _block(mpp: float, down: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Tissue and glass, one period and the halo, at a level."""
    if down == 1:
        return tuple(_continued(kind) for kind in (_tissue(mpp), _glass()))
    finer = (kind[:PERIOD, :PERIOD] for kind in _block(mpp, 1))
    side = PERIOD // down
    return tuple(
        _continued(kind.reshape(side, down, side, down, 3).mean(axis=(1, 3), dtype=np.float32))
        for kind in finer
    )


def _continued(block: NDArray[np.float32]) -> NDArray[np.uint8]:
    more = ((0, HALO), (0, HALO), (0, 0))
    return np.pad(np.rint(block).clip(0, 255).astype(np.uint8), more, mode="wrap")


def _glass() -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    return GLASS + _noise(rng, PERIOD, (0.6, 0.6))[..., None]


def _tissue(mpp: float) -> NDArray[np.float32]:
    """One period of hematoxylin and eosin, float32 (PERIOD, PERIOD, 3) in 0 to 255."""
    rng = np.random.default_rng(1)
    um = 1 / mpp
    regions = _noise(rng, PERIOD, (120 * um, 120 * um))
    fibres = np.exp(-2 * np.abs(_noise(rng, PERIOD, (3 * um, 24 * um))))
    fibres += np.exp(-2 * np.abs(_noise(rng, PERIOD, (18 * um, 4 * um)))) * (regions > 0)
    grain = _noise(rng, PERIOD, (0.8 * um, 0.8 * um))
    eosin = (0.28 + 0.16 * fibres + 0.05 * regions + 0.04 * grain).clip(0.02)
    nuclei = _nuclei(rng, um, regions)
    hematoxylin = (0.06 + 0.02 * regions + nuclei * (0.75 + 0.14 * grain)).clip(0)
    density = hematoxylin[..., None] * HEMATOXYLIN + eosin[..., None] * EOSIN
    sensor = 1.5 * _noise(rng, PERIOD, (0.5, 0.5))
    return GLASS * np.exp(-density) + sensor[..., None]


def _nuclei(rng: np.random.Generator, um: float, regions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ellipses of 5 to 11 µm with soft edges, more of them where `regions` is high; 0 to 1."""
    field = np.zeros((PERIOD, PERIOD), np.float32)
    spacing, reach = 13 * um, int(7 * um) + 1
    grid = np.arange(-reach, reach + 1, dtype=np.float32)
    for centre in np.stack(np.mgrid[0 : PERIOD / spacing, 0 : PERIOD / spacing], -1).reshape(-1, 2) * spacing:
        y, x = np.rint(centre + rng.uniform(-0.4, 0.4, 2) * spacing).astype(int) % PERIOD
        angle, (a, b), chance = rng.uniform(0, np.pi), rng.uniform(2.5, 5.5, 2) * um, rng.uniform(-2, 1.5)
        if chance > regions[y, x]:
            continue
        u = grid[:, None] * np.cos(angle) + grid * np.sin(angle)
        v = grid * np.cos(angle) - grid[:, None] * np.sin(angle)
        stamp = ((1 - np.hypot(u / a, v / b)) * min(a, b) * 0.6 + 0.5).clip(0, 1)
        rows, columns = ((at + np.arange(-reach, reach + 1)) % PERIOD for at in (y, x))
        there = np.ix_(rows, columns)
        field[there] = np.maximum(field[there], stamp * rng.uniform(0.7, 1.1))
    return field


def _write(path: Path, painting: Painting, how: Layout) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        down = 1
        while down == 1 or (painting.side // down >= SMALLEST and down <= 64):
            _write_level(tiff, painting, how, down)
            down *= how.step


def _write_level(tiff: tifffile.TiffWriter, painting: Painting, how: Layout, down: int) -> None:
    side = painting.side // down
    per_cm = 1e4 / (painting.mpp * down)
    options: dict[str, Any] = {"subsampling": (2, 2) if how.subsampling == "420" else (1, 1)}
    if how.colours == "rgb":  # tifffile would name it YCbCr
        options["compressionargs"] = {"outcolorspace": "rgb"}
    if how.aperio:
        options["description"] = _aperio(painting, how, down)
    if how.tables_apart:
        tables = _split(_encode(painting.draw(0, 0, how.tile), how))[0]
        options["extratags"] = [(347, 7, len(tables), tables, True)]
    tiff.write(
        _tiles(painting, how, down),
        shape=(side, side, 3),
        dtype="uint8",
        tile=(how.tile, how.tile),
        photometric=how.colours,
        compression="jpeg",
        subfiletype=int(down > 1),
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        metadata=None,
        **options,
    )


def _aperio(painting: Painting, how: Layout, down: int) -> str:
    """A description by which a reader takes the file for an Aperio slide."""
    side, mpp = painting.side // down, painting.mpp
    size = f"{painting.side}x{painting.side} [0,0 {painting.side}x{painting.side}]"
    size += f" ({how.tile}x{how.tile})" + (f" -> {side}x{side}" if down > 1 else "")
    return (
        f"Aperio Image Library v10.0.51\r\n{size} JPEG/RGB Q={how.quality}"
        f"|AppMag = {10 / mpp:g}|MPP = {mpp:.4f}|ImageID = 1"
    )


def _tiles(painting: Painting, how: Layout, down: int) -> Iterator[bytes]:
    starts = range(0, painting.side // down, how.tile)
    for y in starts:
        for x in starts:
            jpeg = _encode(painting.draw(x, y, how.tile, down), how)
            yield _split(jpeg)[1] if how.tables_apart else jpeg


def _encode(pixels: NDArray[np.uint8], how: Layout) -> bytes:
    encoded: bytes = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(pixels),
        level=how.quality,
        colorspace="rgb",
        outcolorspace=how.colours,
        subsampling=how.subsampling,
    )
    return encoded


def _split(jpeg: bytes) -> tuple[bytes, bytes]:
    """A JPEG as its quantisation and Huffman tables, and the rest."""
    tables, rest, at = b"", b"", 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] in (0xDB, 0xC4):
            tables += jpeg[at:end]
        else:
            rest += jpeg[at:end]
        at = end
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + jpeg[at:]


def main() -> None:
    """Build what is asked for; print one path a line."""
    parser = argparse.ArgumentParser(description="Build benchmark slides.")
    parser.add_argument("layouts", nargs="+", choices=LAYOUTS, metavar="LAYOUT", help="A to E")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder")
    parser.add_argument("--side", type=int, default=20400, help="px at level 0")
    parser.add_argument("--mpp", type=float, default=0.5, help="µm per px at level 0")
    parser.add_argument("--full", action="store_true", help="tissue everywhere")
    asked = parser.parse_args()
    for layout in asked.layouts:
        print(build(layout, asked.out, asked.side, mpp=asked.mpp, full=asked.full))


if __name__ == "__main__":
    main()
