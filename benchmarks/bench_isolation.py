"""What it costs that slides are read in processes of their own: the same pipeline with and without.

    python benchmarks/bench_isolation.py [SLIDE...] [--times N] [--repeats N] [--encoder E] [-o DIR] [--json]

A cohort of healthy slides, each copied N times, is run whole: read by reader processes, and, as the
reference, by threads of the process that encodes. The two take turns; the medians count, and on a busy
machine the fastest. Starting the readers happens once a run, however many slides it has, and is told apart.
Without SLIDE four are drawn, one of each layout that `slides.py` knows, into DIR, where they stay.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slides
from timing import Measured, measured_run

from slidestream.cohort import process
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input

START = "start of readers"
WAYS = {"processes": Execution(), "threads": Execution(readers=0)}


@dataclass(frozen=True)
class Turn:
    """One run, and the seconds that processors worked on it: its readers and their start included."""

    run: Measured
    processor: float

    @property
    def seconds(self) -> float:
        """Wall time without the start of the readers."""
        return self.run.seconds - self.start

    @property
    def start(self) -> float:
        """How long the run waited for its first readers to start."""
        return self.run.stages.get(START, 0.0)


def take_turn(inputs: list[Input], encoder: str, way: str) -> Turn:
    before = sum(os.times()[:4])
    run = measured_run(inputs, RunConfig(encoder), WAYS[way])
    return Turn(run, sum(os.times()[:4]) - before)


def compare(inputs: list[Input], encoder: str, repeats: int) -> dict[str, list[Turn]]:
    """Every run with processes and with threads, in turns; which is first changes from round to round."""
    process.cached_embedder(encoder, "cpu")
    turns: dict[str, list[Turn]] = {way: [] for way in WAYS}
    for number in range(repeats):
        for way in sorted(WAYS, reverse=bool(number % 2)):
            turns[way].append(take_turn(inputs, encoder, way))
    return turns


def report(turns: dict[str, list[Turn]]) -> dict[str, Any]:
    """What each run took, the medians, and the ratios: processes over threads."""
    told = {
        way: {
            "seconds": [turn.seconds for turn in taken],
            "median_seconds": statistics.median(turn.seconds for turn in taken),
            "median_processor": statistics.median(turn.processor for turn in taken),
            "shares": taken[-1].run.shares(),
        }
        for way, taken in turns.items()
    }
    ours, reference = told["processes"], told["threads"]
    return {
        "patches": turns["threads"][0].run.patches,
        "start_seconds": statistics.median(turn.start for turn in turns["processes"]),
        "ways": told,
        "ratio": ours["median_seconds"] / reference["median_seconds"],
        "ratio_of_fastest": min(ours["seconds"]) / min(reference["seconds"]),
        "processor_ratio": ours["median_processor"] / reference["median_processor"],
    }


def show(encoder: str, told: dict[str, Any]) -> None:
    print(f"{encoder}: {told['patches']} patches")
    for way, found in told["ways"].items():
        each = ", ".join(f"{value:.1f}" for value in found["seconds"])
        shares = ", ".join(f"{stage} {share:.0%}" for stage, share in found["shares"].items())
        print(f"  {way:<10}{found['median_seconds']:7.2f} s  ({each})  {shares}")
    print(f"  processes against threads: {told['ratio']:.3f} x the time, of the fastest runs")
    print(f"  {told['ratio_of_fastest']:.3f} x, {told['start_seconds']:.1f} s of starting readers apart;")
    print(f"  {told['processor_ratio']:.3f} x the processor time, start included")


def copy_of(slide: Path, number: int, folder: Path) -> Input:
    """The same slide with a few bytes behind its end: what is the same in all bytes is computed only once."""
    name = f"{number}-{slide.name}"
    copy = shutil.copyfile(slide, folder / name)
    with open(copy, "ab") as file:
        file.write(b"copy %d" % number)
    return Input(name, str(copy))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", nargs="*", type=Path)
    parser.add_argument("--times", type=int, default=3, help="how often each slide is in the cohort")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--encoder", default="texture")
    parser.add_argument("--side", type=int, default=10_000, help="px at level 0 of slides that are drawn")
    parser.add_argument("-o", "--out", type=Path, help="where slides are drawn; else they are not kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        files = options.slide or [slides.build(layout, folder, options.side) for layout in slides.LAYOUTS]
        inputs = [copy_of(file, i, Path(scratch)) for i in range(options.times) for file in files]
        told = report(compare(inputs, options.encoder, options.repeats))
    if options.json:
        print(json.dumps(told))
    else:
        show(options.encoder, told)


if __name__ == "__main__":
    main()
