"""How fast patches are read, against other readers and against the JPEG decoder alone.

    python benchmarks/bench_read.py [--quick] [--json] [--cpu] [--layouts A B D] [--folder DIR]

Each line is one slide, patch size, grid and spacing. All readers take turns within each repeat; every
figure is the median of the repeats. MPix/s count the pixels of the patches. "limit" is libjpeg-turbo
decoding the same compressed tiles, each once, from memory, at the scale that serves, and nothing else.
Every repeat begins with a slide just opened. At twice the level's spacing the others read the patch at
full scale and average 2 x 2 px, which is the cheapest right way that they have.

Two threads share one open slide; two processes read a half of it each, as reader processes read a slide
each. What they gain is told against one thread of the same run.

With --cpu the clock is the time this process had a processor, for one thread only: what a machine that
others use does not disturb. A reader with threads of its own gains nothing by them there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray
from PIL import Image
from slides import build

from slidestream.geometry import Region
from slidestream.wsi import open_slide
from slidestream.wsi.tile_codecs import JpegCodec, codec_for
from slidestream.wsi.tile_table import read_tables

BATCH = 32
ROW = 32
"""Patches in a row of the grid, as far as the slide is wide enough."""

MOST_PX = 160_000_000
"""Read per repeat: many times what the cache holds, as of a slide."""

DATA = Path(os.environ.get("SLIDESTREAM_TEST_DATA", Path(__file__).resolve().parents[2] / "shared/data"))
CUBIC = Image.Resampling.BICUBIC
REAL = ("wsi/P-2_carotid_zoomify.tiff", "wsi/CMU-1-Small-Region.svs")

Corner = tuple[int, int]
Read = Callable[[Sequence[Corner], NDArray[np.uint8]], None]
"""Fills uint8 (B, side, side, 3) with the patches whose level-0 corners are given."""


class Seconds(NamedTuple):
    """By the clock on the wall, and of processors."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Case:
    """One line of the table: `reduce` source px become one px of the patch."""

    slide: str
    path: Path
    side: int
    aligned: bool
    reduce: float

    @property
    def reach(self) -> int:
        """Level-0 px across a patch."""
        return round(self.side * self.reduce)

    def corners(self) -> list[Corner]:
        """Level-0 corners of neighbouring patches, row by row, at most `MOST_PX` of the level."""
        start = 0 if self.aligned else 38
        step = self.reach
        with tifffile.TiffFile(self.path) as tiff:
            fit = [(size - start) // step for size in (tiff.pages[0].imagewidth, tiff.pages[0].imagelength)]
        columns = min(ROW, fit[0])
        rows = min(max(MOST_PX // (columns * step**2), 2), fit[1])
        return [(start + x * step, start + y * step) for y in range(rows) for x in range(columns)]


@contextlib.contextmanager
def by_slidestream(case: Case) -> Iterator[Read]:
    extent = float(case.reach)
    with open_slide(case.path, mpp=0.5) as slide:

        def read(corners: Sequence[Corner], out: NDArray[np.uint8]) -> None:
            regions = [Region((float(x), float(y)), (extent, extent)) for x, y in corners]
            assert not slide.read_patches(regions, out).any()

        yield read


@contextlib.contextmanager
def by_openslide(case: Case) -> Iterator[Read]:
    from openslide import OpenSlide

    with OpenSlide(case.path) as slide:
        yield _each(case, lambda x, y, side: slide.read_region((x, y), 0, (side, side)))


@contextlib.contextmanager
def by_tiffslide(case: Case) -> Iterator[Read]:
    from tiffslide import TiffSlide

    with TiffSlide(case.path) as slide:
        yield _each(case, lambda x, y, side: slide.read_region((x, y), 0, (side, side), as_array=True))


@contextlib.contextmanager
def by_pyvips(case: Case) -> Iterator[Read]:
    import pyvips

    pyvips.concurrency_set(1)
    region = pyvips.Region.new(pyvips.Image.new_from_file(str(case.path), access="random"))

    def fetch(x: int, y: int, side: int) -> Any:
        return np.frombuffer(region.fetch(x, y, side, side), np.uint8).reshape(side, side, -1)

    yield _each(case, fetch)


@contextlib.contextmanager
def by_cucim(case: Case) -> Iterator[Read]:
    from cucim import CuImage

    slide = CuImage(str(case.path))
    yield _each(case, lambda x, y, side: slide.read_region((x, y), (side, side), 0, num_workers=1))


def _each(case: Case, fetch: Callable[[int, int, int], Any]) -> Read:
    """Patch by patch; reduced by an average where the case asks for whole px, else as we do."""

    def read(corners: Sequence[Corner], out: NDArray[np.uint8]) -> None:
        for row, (x, y) in enumerate(corners):
            pixels = np.asarray(fetch(x, y, case.reach))[..., :3]
            if case.reduce > 1:
                image = Image.fromarray(np.ascontiguousarray(pixels))
                whole = float(case.reduce).is_integer()
                small = image.reduce(int(case.reduce)) if whole else image.resize((case.side,) * 2, CUBIC)
                pixels = np.asarray(small)
            out[row] = pixels

    return read


READERS = {
    "slidestream": (by_slidestream, "slidestream"),
    "OpenSlide": (by_openslide, "openslide"),
    "tiffslide": (by_tiffslide, "tiffslide"),
    "pyvips": (by_pyvips, "pyvips"),
    "cuCIM": (by_cucim, "cucim"),
}


def streams(case: Case, corners: Sequence[Corner]) -> list[bytes]:
    """The whole JPEGs of all tiles that the patches touch, each once."""
    with tifffile.TiffFile(case.path) as tiff:
        size = (tiff.pages[0].imagewidth, tiff.pages[0].imagelength)
    (table,) = read_tables(case.path, [size])
    codec = codec_for(table)
    assert isinstance(codec, JpegCodec)
    reach, (w, h) = case.reach - 1, table.tile
    touched = {
        row * table.columns + column
        for x, y in corners
        for row in range(y // h, (y + reach) // h + 1)
        for column in range(x // w, (x + reach) // w + 1)
    }
    with open(case.path, "rb") as file:
        return [codec.stream(_bytes(file, table.offsets[i], table.counts[i])) for i in sorted(touched)]


def _bytes(file: Any, offset: int, count: int) -> bytes:
    file.seek(int(offset))
    return bytes(file.read(int(count)))


def time_limit(tiles: Sequence[bytes], reduce: int, threads: int) -> Seconds:
    """To decode all tiles from memory."""
    height, width = simplejpeg.decode_jpeg_header(tiles[0])[:2]
    smallest = {"min_height": height // reduce, "min_width": width // reduce}

    def decode(part: Sequence[bytes]) -> None:
        buffer = np.empty((height // reduce, width // reduce, 3), np.uint8)
        for tile in part:
            simplejpeg.decode_jpeg(tile, buffer=buffer, **smallest)

    return _time([tiles[i::threads] for i in range(threads)], decode)


def time_reader(name: str, case: Case, corners: Sequence[Corner], threads: int) -> Seconds:
    """To read all patches, in batches that the threads take in turn."""
    batches = [corners[i : i + BATCH] for i in range(0, len(corners), BATCH)]
    with READERS[name][0](case) as read:

        def work(part: Sequence[Sequence[Corner]]) -> None:
            out = np.zeros((BATCH, case.side, case.side, 3), np.uint8)
            for batch in part:
                read(batch, out[: len(batch)])

        return _time([batches[i::threads] for i in range(threads)], work)


def time_processes(case: Case, corners: Sequence[Corner], count: int) -> Seconds:
    """To read all patches, each process a part of the rows."""
    context = multiprocessing.get_context("spawn")
    size = -(-len(corners) // (count * ROW)) * ROW
    pipes, processes = [], []
    for start in range(0, len(corners), size):
        ours, theirs = context.Pipe()
        process = context.Process(target=_read_part, args=(case, corners[start : start + size], theirs))
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()
    start_time = time.perf_counter()
    for pipe in pipes:
        pipe.send("go")
    for pipe in pipes:
        pipe.recv()
    seconds = time.perf_counter() - start_time
    for process in processes:
        process.join()
    return Seconds(seconds, float("nan"))


def _read_part(case: Case, corners: Sequence[Corner], pipe: Any) -> None:
    out = np.zeros((BATCH, case.side, case.side, 3), np.uint8)
    with by_slidestream(case) as read:
        pipe.send("ready")
        pipe.recv()
        for start in range(0, len(corners), BATCH):
            batch = corners[start : start + BATCH]
            read(batch, out[: len(batch)])
        pipe.send("done")


def _time(parts: Sequence[Any], work: Callable[[Any], None]) -> Seconds:
    if len(parts) == 1:
        start, start_cpu = time.perf_counter(), time.process_time()
        work(parts[0])
        return Seconds(time.perf_counter() - start, time.process_time() - start_cpu)
    with ThreadPoolExecutor(len(parts)) as pool:
        start, start_cpu = time.perf_counter(), time.process_time()
        list(pool.map(work, parts))
        return Seconds(time.perf_counter() - start, time.process_time() - start_cpu)


def measure(case: Case, repeats: int, clock: str) -> list[dict[str, Any]]:
    """Median MPix/s of every reader and of the decoder alone, by a clock of `Seconds`: a line each way."""
    corners = case.corners()
    tiles = streams(case, corners)
    mpix = len(corners) * case.side**2 / 1e6
    names = [name for name, (_, module) in READERS.items() if importlib.util.find_spec(module)]
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(repeats):
        for threads in (1,) if clock == "cpu" else (1, 2):
            way = f"{threads} thread{'s' * (threads > 1)}"
            for name in names:
                seconds[way, name].append(getattr(time_reader(name, case, corners, threads), clock))
            seconds[way, "limit"].append(getattr(time_limit(tiles, int(case.reduce), threads), clock))
        if clock == "wall":
            seconds["2 processes", "slidestream"].append(time_processes(case, corners, 2).wall)
    shown = {"slide": case.slide, "side": case.side, "aligned": case.aligned, "reduce": case.reduce}
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for (way, name), times in seconds.items():
        found[way][name] = mpix / statistics.median(times)
    alone = found["1 thread"]["slidestream"]
    return [
        {**shown, "way": way, "clock": clock, "mpix_per_s": speed, "gain": speed["slidestream"] / alone}
        for way, speed in found.items()
    ]


def one_level(path: Path) -> Path:
    """A copy whose first directory is its last: a slide without levels between."""
    copy = path.with_name(f"{path.stem}-one-level{path.suffix}")
    if not copy.exists():
        with tifffile.TiffFile(path) as tiff:
            page, form = tiff.pages[0], tiff.tiff
            link = page.offset + form.tagnosize + form.tagsize * len(page.tags)
            count = int.from_bytes(_bytes(tiff.filehandle, page.offset, form.tagnosize), "little")
            assert count == len(page.tags)
        content = bytearray(path.read_bytes())
        content[link : link + form.offsetsize] = bytes(form.offsetsize)
        copy.write_bytes(content)
    return copy


def cases(layouts: Sequence[str], folder: Path, quick: bool) -> Iterator[Case]:
    """Every line of the table."""
    slides = {name: build(name, folder, full=True) for name in layouts}
    real = {Path(name).stem: DATA / name for name in REAL if (DATA / name).exists()}
    grids = [(224, False)] if quick else [(s, aligned) for s in (224, 256, 512) for aligned in (True, False)]
    for name, path in {**slides, **real}.items():
        for side, aligned in grids:
            yield Case(name, path, side, aligned, 1)
            if name in slides:
                yield Case(name, one_level(path), side, aligned, 2)
            elif name.startswith("P-2"):
                yield Case(name, path, side, aligned, 1 / 0.729)  # 1.0 µm from its 0.729


def line(found: dict[str, Any]) -> str:
    """One measurement in words."""
    speed, ours = found["mpix_per_s"], found["mpix_per_s"]["slidestream"]
    grid = "aligned" if found["aligned"] else "unaligned"
    others = "  ".join(f"{name} {value:.0f}" for name, value in speed.items())
    what = f"{found['slide'][:8]:8} {found['side']} px {grid:9} {found['reduce']:.3g}x {found['way']:11}"
    ratios = []
    if "OpenSlide" in speed:
        ratios = [f"{ours / speed['OpenSlide']:.1f} x OpenSlide", f"{ours / speed['limit']:.2f} of the limit"]
    if found["way"] != "1 thread":
        ratios.append(f"{found['gain']:.2f} x one thread")
    return f"{what}  {others}  | {', '.join(ratios)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Patches per second, against other readers and the limit.")
    parser.add_argument("--quick", action="store_true", help="224 px unaligned only")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--cpu", action="store_true", help="processor time, one thread")
    parser.add_argument("--layouts", nargs="*", default=["A", "B", "D"], metavar="LAYOUT")
    parser.add_argument("--folder", type=Path, help="where drawn slides are kept (default: temporary)")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for case in cases(asked.layouts, asked.folder or Path(temporary), asked.quick):
            for found in measure(case, asked.repeats, "cpu" if asked.cpu else "wall"):
                print(json.dumps(found) if asked.json else line(found), flush=True)


if __name__ == "__main__":
    main()
