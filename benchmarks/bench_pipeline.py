"""Whole runs with reader processes, against the same runs with reader threads in the one process.

    python benchmarks/bench_pipeline.py [SLIDE] [--slides N] [--repeats N] [--json]

Without SLIDE one of 8,000 px a side is drawn. N copies of it are a cohort, with the encoders
`texture` and `null`; of each way the fastest repeat counts, the two taking turns. Stages are waits of the
process that encodes: what is read ahead meanwhile costs it nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from memory import write_tissue
from timing import START, Measured, distinct, measured_run

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.process import cached_embedder


def compare(inputs: list[Input], encoder: str, repeats: int) -> dict[str, Measured]:
    """The fastest run with processes and with threads."""
    cached_embedder(encoder, "cpu")
    ways = {"processes": Execution(), "threads": Execution(readers=0)}
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, execution in ways.items():
            runs[way].append(measured_run(inputs, RunConfig(encoder), execution))
    return {way: min(measured, key=lambda m: m.seconds) for way, measured in runs.items()}


def report(found: dict[str, Measured]) -> dict[str, Any]:
    """Rates, shares and ratios; `overhead` leaves out the start of the readers, which happens once a run."""
    ours, reference = found["processes"], found["threads"]
    return {
        "patches": ours.patches,
        "patches_per_second": {way: measured.patches / measured.seconds for way, measured in found.items()},
        "shares": {way: measured.shares() for way, measured in found.items()},
        "start_seconds": ours.stages.get(START, 0),
        "speed_against_threads": reference.seconds / ours.seconds,
        "overhead": ours.working / reference.seconds - 1,
    }


def show(encoder: str, told: dict[str, Any]) -> None:
    print(f"{encoder}: {told['patches']} patches")
    for way, rate in told["patches_per_second"].items():
        shares = ", ".join(f"{stage} {share:.0%}" for stage, share in told["shares"][way].items())
        print(f"  {way:<10}{rate:8.0f} patches/s   {shares}")
    print(f"  processes against threads: {told['speed_against_threads']:.2f} x the speed, with a start of")
    print(f"  {told['start_seconds']:.1f} s; without it {told['overhead']:+.1%} time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", nargs="?", type=Path)
    parser.add_argument("--slides", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        slide = options.slide or write_tissue(Path(scratch, "slide.tiff"), 8000)
        inputs = distinct(slide, options.slides, Path(scratch))
        found = {name: report(compare(inputs, name, options.repeats)) for name in ("texture", "null")}
    if options.json:
        print(json.dumps(found))
        return
    for encoder, told in found.items():
        show(encoder, told)


if __name__ == "__main__":
    main()
