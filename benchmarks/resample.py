"""Patches resampled by the compiled loop, beside Pillow in one run, on one thread.

    python benchmarks/resample.py [--repeats N] [--json]

Each line is a side in px, brought to 224 px, at boxes on fractions of px, with the filter's margin around
them. Both give the same bytes, which is checked first. They take turns; every figure is the median of the
repeats. "taps" is what the first patch of a row or column of the grid costs beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from slidestream.wsi import resample

SIDE = 224
SIDES = (232, 307, 448, 560)
Box = tuple[float, float, float, float]


def microseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e6


def measure(side: int, repeats: int) -> dict[str, float]:
    margin = resample.margin(side / SIDE)
    length = side + 1 + 2 * margin
    pixels = np.random.default_rng(0).integers(0, 256, (length, length, 3), dtype=np.uint8)
    box: Box = (margin + 0.3, margin + 0.7, margin + 0.3 + side, margin + 0.7 + side)
    out = np.empty((SIDE, SIDE, 3), np.uint8)
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: resample.resize(pixels, box, (SIDE, SIDE), out),
        "pillow": lambda: np.copyto(
            out, np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), resample.FILTER, box=box))
        ),
        "taps": lambda: resample.taps.__wrapped__(length, box[0], box[2], SIDE),
    }
    ways["pillow"]()
    expected = out.copy()
    ways["ours"]()
    np.testing.assert_array_equal(out, expected)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, work in ways.items():
            times[way].append(microseconds(work))
    return {way: statistics.median(each) for way, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    options = parser.parse_args()
    if not resample.COMPILED:
        parser.exit(1, "The compiled loop was not built: Pillow would be measured against itself.\n")
    for side in SIDES:
        found = measure(side, options.repeats)
        ratio = found["pillow"] / found["ours"]
        if options.json:
            print(json.dumps(found | {"side": side, "ratio": ratio}))
            continue
        parts = ", ".join(f"{way} {each:5.0f} µs" for way, each in found.items())
        print(f"{side} -> {SIDE} px: {parts}; {ratio:.1f} times Pillow")


if __name__ == "__main__":
    main()
