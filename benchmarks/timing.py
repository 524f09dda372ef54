"""What the benchmarks share: where the time of a whole run goes, and the fastest of several passes."""

from __future__ import annotations

import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from slidestream.cohort import child, readers
from slidestream.cohort import run as running
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.features.embedder import Embedder
from slidestream.features.writer import StoreWriter

START = "start of readers"
Seconds = dict[str, float]


def best(work: Callable[[], object], passes: int) -> float:
    """Seconds of the fastest pass, after one to warm up."""
    work()
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


class Silent:
    """Watches a run and says nothing."""

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

    @property
    def working(self) -> float:
        """Seconds without the start of the readers, which happens once a run."""
        return self.seconds - self.stages.get(START, 0)

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

    def begin(self, *given: Any) -> Any:
        """In the place of `Embedder.begin`: what the processor begins, and what is waited for on a GPU."""
        with self.stage("encode"):
            embeddings = _begin(*given)
        return self.around("encode", embeddings)

    @contextmanager
    def feed(self, feed: Any) -> Iterator[Any]:
        before = self.stages[START]
        with self.stage("open and mask"):
            fed = feed.__enter__()
        self.stages["open and mask"] -= self.stages[START] - before
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


_begin = Embedder.begin


@contextmanager
def instrumented(clock: Clock) -> Iterator[None]:
    """The stages of a run, timed from outside."""

    @contextmanager
    def feeds(jobs: Any, wanted: Any) -> Iterator[Any]:
        with readers.feeds(jobs, wanted) as ahead:
            yield ((job, clock.feed(feed)) for job, feed in ahead)

    def begin(*given: Any) -> Any:
        return clock.begin(*given)

    with (
        mock.patch.object(running, "feeds", feeds),
        mock.patch.object(Embedder, "begin", begin),
        mock.patch.object(StoreWriter, "append", clock.around("store", StoreWriter.append)),
        mock.patch.object(StoreWriter, "commit", clock.around("store", StoreWriter.commit)),
        mock.patch.object(child.Child, "_await_start", clock.around(START, child.Child._await_start)),
    ):
        yield


def distinct(slide: Path, count: int, folder: Path) -> list[Input]:
    """Copies of a slide, each a byte longer than the last: a run computes the same content only once."""
    inputs = []
    for number in range(count):
        copy = folder / f"slide-{number}{slide.suffix}"
        copy.write_bytes(slide.read_bytes() + bytes(number))
        inputs.append(Input(copy.stem, str(copy)))
    return inputs


def measured_run(inputs: Sequence[Input], config: RunConfig, execution: Execution) -> Measured:
    """A run from an empty folder to finished stores."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, instrumented(clock):
        order = RunOrder(inputs, config, Path(folder), execution)
        start = time.perf_counter()
        summary = run_cohort(order, Silent())
        seconds = time.perf_counter() - start
    assert not summary.failures, summary.failures
    assert not any(outcome.same_as for outcome in summary.outcomes), "copies are not computed"
    return Measured(seconds, sum(outcome.patches for outcome in summary.outcomes), dict(clock.stages))
