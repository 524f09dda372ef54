"""Peak resident memory of `slidestream run`, on a slide and on one four times larger.

    python benchmarks/memory.py [SLIDE] [--json]

Without SLIDE two slides are drawn, 8,000 and 16,000 px a side, all tissue; with it, its peak is
measured too. The reference is the smaller slide: a run that streams needs the same for both. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile


def write_tissue(path: Path, side: int) -> Path:
    """A pyramid of textured pink at 0.5 µm per px, written tile by tile."""
    rng = np.random.default_rng(0)
    tile = (np.array([205, 130, 180]) + rng.integers(-40, 40, (256, 256, 1))).astype(np.uint8)

    def tiles(count: int) -> Iterator[np.ndarray]:
        for _ in range(count):
            yield tile

    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(5):
            n = side >> level
            tiff.write(
                tiles((-(-n // 256)) ** 2),
                shape=(n, n, 3),
                dtype="uint8",
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                subfiletype=int(level > 0),
                resolution=(2e4, 2e4),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    return path


def peak_mib(slide: Path, folder: Path, encoder: str = "texture") -> float:
    """Peak resident memory of a whole `run` of one slide, in MiB: the run and its readers together.

    Sampled every 20 ms from /proc as proportional set sizes, so that memory they share counts once.
    """
    command = [
        sys.executable,
        "-m",
        "slidestream",
        "run",
        str(slide),
        "-o",
        str(folder),
        "--encoder",
        encoder,
    ]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while run.poll() is None:
        peak = max(peak, sum(_pss_kib(pid) for pid in _family(run.pid)))
        time.sleep(0.02)
    if run.returncode:
        raise RuntimeError(f"the run ended with {run.returncode}")
    return peak / 1024


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", nargs="?", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        peaks = {
            f"{side} px": peak_mib(write_tissue(here / f"{side}.tiff", side), here / f"run{side}")
            for side in (8000, 16000)
        }
        if options.slide:
            peaks[options.slide.name] = peak_mib(options.slide, here / "run")
    ratio = peaks["16000 px"] / peaks["8000 px"]
    if options.json:
        print(json.dumps({"peak_mib": peaks, "ratio_of_four_times_larger": ratio}))
        return
    for name, peak in peaks.items():
        print(f"{name:<32}{peak:8.0f} MiB")
    print(f"four times larger, against the smaller: {ratio:.3f} x")


if __name__ == "__main__":
    main()
