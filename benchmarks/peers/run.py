"""A whole slide segmented, tiled and read: slidestream against its peers, each as installed from the index.

    python benchmarks/peers/run.py -o DIR [--side 20400] [--rounds 3] [--json]

The slide is layout E of `benchmarks/slides.py` at 0.25 µm, half of it tissue, in DIR; so are the peers'
virtual environments, which take some 13 GB: most bring torch. Patches are 224 px at 0.5 µm, between two
levels as on most slides, those on tissue as each library sees it, decoded to numpy and touched. A job is a
process of its own on one core with one thread; imports are not counted, opening and segmenting are; the file
is in memory. Jobs are interleaved, figures are medians. The last row is slidestream with two reader threads
on two cores; no peer has such a row. On a machine that others use too, compare the processor seconds.

A peer that cannot be installed or does not run is named with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments import Environment, NotInstallable
from job import SLIDE_MPP

HERE = Path(__file__).parent
TIMEOUT_S = 900
REFERENCE = "OpenSlide loop"
OURS = "slidestream"

DLUP = Environment(("dlup[openslide]==0.9.4", "fastslide==0.8.1"))
LAZYSLIDE = Environment(("lazyslide==0.13.0", "wsidata[fastslide]==0.12.0", "fastslide==0.8.1"))
TIATOOLBOX = Environment(("tiatoolbox==2.1.3",))
# Slideflow 3.0.2 imports pkg_resources; one of its requirements builds with swig.
SLIDEFLOW = Environment(
    ("slideflow[cucim]==3.0.2", "torch", "torchvision", "timm", "pyvips-binary", "setuptools<81"),
    tools=("swig",),
)

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "VIPS_CONCURRENCY"),
    "1",
)


@dataclass(frozen=True)
class Row:
    """One job of the table; without an environment it runs in this one."""

    name: str
    script: str
    environment: Environment | None = None
    reader: str | None = None
    workers: int = 1
    variables: dict[str, str] = field(default_factory=dict)

    def command(self, python: Path, slide: Path) -> list[str]:
        command = [str(python), str(HERE / self.script), str(slide), "--workers", str(self.workers)]
        if self.reader:
            command += ["--reader", self.reader]
        if taskset := shutil.which("taskset"):
            command = [taskset, "--cpu-list", ",".join(map(str, range(self.workers))), *command]
        return command


def slideflow(backend: str) -> Row:
    variables = {"SF_BACKEND": "torch", "SF_SLIDE_BACKEND": backend}
    return Row(f"Slideflow, {backend}", "slideflow_job.py", SLIDEFLOW, backend, variables=variables)


ROWS = (
    Row(OURS, "slidestream_job.py"),
    Row(REFERENCE, "openslide_job.py"),
    Row("LazySlide", "lazyslide_job.py", LAZYSLIDE),
    Row("LazySlide, fastslide", "lazyslide_job.py", LAZYSLIDE, "fastslide"),
    Row("tiatoolbox", "tiatoolbox_job.py", TIATOOLBOX),
    slideflow("libvips"),
    slideflow("cucim"),
    Row("dlup, openslide", "dlup_job.py", DLUP, "openslide"),
    Row("dlup, fastslide", "dlup_job.py", DLUP, "fastslide"),
    Row("slidestream, 2 workers", "slidestream_job.py", workers=2),
)


def once(row: Row, python: Path, slide: Path) -> dict[str, Any]:
    """The figures of one run, or {"problem": why there are none}."""
    environment = {**os.environ, **ONE_THREAD, **row.variables}
    try:
        ended = subprocess.run(
            row.command(python, slide),
            capture_output=True,
            text=True,
            env=environment,
            cwd=slide.parent,  # some write a log where they are
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"does not run: not done after {TIMEOUT_S} s"}
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        return {"problem": f"does not run: {said[-1][:160]}"}
    figures: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return figures


def measure(folder: Path, slide: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Median figures, or a problem, for each row by name."""
    pythons: dict[str, Path] = {}
    runs: dict[str, list[dict[str, Any]]] = {row.name: [] for row in ROWS}
    for row in ROWS:
        try:
            pythons[row.name] = row.environment.python(folder) if row.environment else Path(sys.executable)
        except NotInstallable as why:
            runs[row.name].append({"problem": f"not installable: {why}"})
    for number in range(rounds):
        for row in ROWS:
            if not any("problem" in run for run in runs[row.name]):
                print(f"round {number + 1} of {rounds}: {row.name}", file=sys.stderr)
                runs[row.name].append(once(row, pythons[row.name], slide))
    return {name: median(found) for name, found in runs.items()}


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    problem = next((run for run in runs if "problem" in run), None)
    if problem:
        return problem
    middle = {
        key: statistics.median(run[key] for run in runs) for key in ("seconds", "read_seconds", "cpu_seconds")
    }
    return {**runs[0], **middle, "patches_per_second": runs[0]["patches"] / middle["seconds"]}


def show(found: dict[str, dict[str, Any]]) -> None:
    """The table; the last two columns compare seconds, and processor seconds, per patch."""
    heads = (
        "version",
        "patches",
        "mean",
        "seconds",
        "reading",
        "cpu s",
        "patches/s",
        "x loop",
        "we are",
        "by cpu",
    )
    print(" " * 24 + "".join(f"{head:>10}" for head in heads))
    loop, ours = found[REFERENCE], found[OURS]
    for name, row in found.items():
        if "problem" in row:
            print(f"{name:24}  {row['problem']}")
            continue
        cells = [row["version"], str(row["patches"]), f"{row['mean']:.1f}"]
        cells += [f"{row[key]:.2f}" for key in ("seconds", "read_seconds", "cpu_seconds")]
        cells += [f"{row['patches'] / row['seconds']:.0f}", _ratio(row, loop, "seconds")]
        cells += [_ratio(ours, row, "seconds"), _ratio(ours, row, "cpu_seconds")]
        print(f"{name:24}" + "".join(f"{cell:>10}" for cell in cells))


def _ratio(one: dict[str, Any], other: dict[str, Any], key: str) -> str:
    """How many times as many patches `one` did in the same time."""
    if "problem" in one or "problem" in other:
        return "-"
    return f"{one['patches'] / one[key] / (other['patches'] / other[key]):.2f}x"


def main() -> None:
    """Build the slide and the environments, measure, print."""
    parser = argparse.ArgumentParser(description="slidestream against its peers on a whole slide.")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the slide and environments")
    parser.add_argument("--side", type=int, default=20400, help="px at level 0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    draw = [
        sys.executable,
        str(HERE.parent / "slides.py"),
        "E",
        *("-o", str(asked.out), "--side", str(asked.side), "--mpp", str(SLIDE_MPP)),
    ]
    drawn = subprocess.run(draw, stdout=subprocess.PIPE, text=True, check=True)
    slide = Path(drawn.stdout.strip()).absolute()
    found = measure(asked.out / "environments", slide, asked.rounds)
    if asked.json:
        print(json.dumps({"slide": slide.name, "rounds": asked.rounds, "jobs": found}, indent=1))
    else:
        print(f"{slide.name}, medians of {asked.rounds}")
        show(found)


if __name__ == "__main__":
    main()
