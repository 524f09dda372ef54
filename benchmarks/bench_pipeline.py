"""Whole runs with reader processes, against the same runs with reader threads in the one process.

    python benchmarks/bench_pipeline.py [SLIDE] [--slides N] [--repeats N] [--json]

Without SLIDE one of 8,000 px a side is drawn. It is run N times over as a cohort, with the encoders
`texture` and `null`; of each way the fastest repeat counts, the two taking turns. Stages are waits of the
process that encodes: what is read ahead meanwhile costs it nothing.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from memory import write_tissue

from slidestream.cohort import child, process, readers
from slidestream.cohort import run as running
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.features.embedder import Embedder
from slidestream.features.writer import StoreWriter

Seconds = dict[str, float]


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


@dataclass(frozen=True)
class Measured:
    """One run: wall seconds, patches, and seconds in each stage."""

    seconds: float
    patches: int
    stages: Seconds

    def shares(self) -> Seconds:
        known = {stage: seconds / self.seconds for stage, seconds in self.stages.items()}
        return known | {"other": 1 - sum(known.values())}


class Clock:
    """Adds up what stages take."""

    def __init__(self) -> None:
        self.stages: Seconds = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.stages[name] += time.perf_counter() - start

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*given: Any) -> Any:
            with self.stage(name):
                return function(*given)

        return timed

    @contextmanager
    def feed(self, feed: Any) -> Iterator[Any]:
        before = self.stages["start of readers"]
        with self.stage("open and mask"):
            fed = feed.__enter__()
        self.stages["open and mask"] -= self.stages["start of readers"] - before
        yield replace(fed, batches=self._waits(fed.batches))
        feed.__exit__(None, None, None)

    def _waits(self, batches: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while True:
            with self.stage("wait for pixels"):
                batch = next(batches, end)
            if batch is end:
                return
            yield batch


@contextmanager
def instrumented(clock: Clock) -> Iterator[None]:
    """The stages of a run, timed from outside."""

    @contextmanager
    def feeds(jobs: Any, wanted: Any) -> Iterator[Any]:
        with readers.feeds(jobs, wanted) as ahead:
            yield ((job, clock.feed(feed)) for job, feed in ahead)

    with (
        mock.patch.object(running, "feeds", feeds),
        mock.patch.object(Embedder, "__call__", clock.around("encode", Embedder.__call__)),
        mock.patch.object(StoreWriter, "append", clock.around("store", StoreWriter.append)),
        mock.patch.object(StoreWriter, "commit", clock.around("store", StoreWriter.commit)),
        mock.patch.object(
            child.Child, "_await_start", clock.around("start of readers", child.Child._await_start)
        ),
    ):
        yield


def measure(inputs: list[Input], encoder: str, execution: Execution) -> Measured:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, instrumented(clock):
        order = RunOrder(inputs, RunConfig(encoder), Path(folder), execution)
        start = time.perf_counter()
        summary = run_cohort(order, Silent())
        seconds = time.perf_counter() - start
    assert not summary.failures, summary.failures
    return Measured(seconds, sum(outcome.patches for outcome in summary.outcomes), dict(clock.stages))


def compare(inputs: list[Input], encoder: str, repeats: int) -> dict[str, Measured]:
    """The fastest run with processes and with threads."""
    process.cached_embedder(encoder, "cpu")
    ways = {"processes": Execution(), "threads": Execution(readers=0)}
    runs: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, execution in ways.items():
            runs[way].append(measure(inputs, encoder, execution))
    return {way: min(measured, key=lambda m: m.seconds) for way, measured in runs.items()}


def report(found: dict[str, Measured]) -> dict[str, Any]:
    """Rates, shares and ratios; `overhead` leaves out the start of the readers, which happens once a run."""
    ours, reference = found["processes"], found["threads"]
    working = ours.seconds - ours.stages.get("start of readers", 0)
    return {
        "patches": ours.patches,
        "patches_per_second": {way: measured.patches / measured.seconds for way, measured in found.items()},
        "shares": {way: measured.shares() for way, measured in found.items()},
        "start_seconds": ours.stages.get("start of readers", 0),
        "speed_against_threads": reference.seconds / ours.seconds,
        "overhead": working / reference.seconds - 1,
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
        inputs = [Input(f"slide-{i}", str(slide)) for i in range(options.slides)]
        found = {name: report(compare(inputs, name, options.repeats)) for name in ("texture", "null")}
    if options.json:
        print(json.dumps(found))
        return
    for encoder, told in found.items():
        show(encoder, told)


if __name__ == "__main__":
    main()
