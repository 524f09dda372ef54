"""Several devices on one machine: a process for each, which takes the next input when it is free for one.

Every process goes through the same jobs and asks for each whether it may have it; whoever asks first gets it.
Claims, ledger and progress stay with the process that started them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ..errors import EnvironmentProblem, SlidestreamError
from ..spawning import context, deaf, how_ended, spawned
from .batches import settled
from .gpus import on_device
from .job import Job, Outcome
from .process import process_all
from .readers import Wanted, feeds

OnPatches = Callable[[str, int, int], None]
"""Called with the slide_id, the patches done so far and the patches in all."""
Computed = Generator[tuple[Job, list[Outcome]], None, None]


@dataclass(frozen=True)
class Ask:
    """May I have this job? By its number; the answer is a bool."""

    job: int


@dataclass(frozen=True)
class Patches:
    """So many patches of a slide are done."""

    slide_id: str
    done: int
    total: int


@dataclass(frozen=True)
class Done:
    """A job has ended, with these outcomes of its members."""

    job: int
    outcomes: list[Outcome]


@dataclass(frozen=True)
class Over:
    """There are no more jobs; or nothing can go on, for that reason."""

    error: SlidestreamError | None = None


def on_devices(jobs: Sequence[Job], devices: Sequence[str], wanted: Wanted, told: OnPatches) -> Computed:
    """Compute jobs on several devices at a time; each job and the outcomes of its members, as they end.

    Args:
        wanted: asked once per job, when a device is free for it.

    Raises:
        EnvironmentProblem: nothing about an input: no disk space, no GPU; or a process died. The others end.
    """
    given: set[int] = set()

    def granted(number: int) -> bool:
        if number in given or not wanted(jobs[number]):
            return False
        given.add(number)
        return True

    with _workers(jobs, devices) as workers:
        while workers:
            for pipe in wait(list(workers)):
                assert isinstance(pipe, Connection)
                message = _heard(pipe, workers)
                if isinstance(message, Ask):
                    pipe.send(granted(message.job))
                elif isinstance(message, Patches):
                    told(message.slide_id, message.done, message.total)
                elif isinstance(message, Done):
                    yield jobs[message.job], message.outcomes
                else:
                    del workers[pipe]
                    if message.error:
                        raise message.error


Workers = dict[Connection, tuple[str, BaseProcess]]
"""The device and the process at the other end of each pipe."""


@contextmanager
def _workers(jobs: Sequence[Job], devices: Sequence[str]) -> Iterator[Workers]:
    workers: Workers = {}
    started: list[BaseProcess] = []
    try:
        for device in devices:
            ours, theirs = context.Pipe()
            mine = [on_device(job, device) for job in jobs]
            started.append(spawned(serve, (theirs, mine), daemon=False))
            workers[ours] = device, started[-1]
            theirs.close()
        yield workers
    finally:
        for pipe in workers:
            pipe.close()
        for process in started:
            process.terminate()
            process.join()


def _heard(pipe: Connection, workers: Workers) -> Any:
    try:
        return pipe.recv()
    except (EOFError, OSError):
        device, process = workers[pipe]
        process.join(5)
        raise EnvironmentProblem(
            f"The process that computes on {device} ended ({how_ended(process.exitcode)}).",
            "Look for what ended it, perhaps too little memory; the same command goes on where this one was.",
        ) from None


def serve(pipe: Connection, jobs: Sequence[Job]) -> None:
    """What runs in the process of a device: jobs that it is given, to the last of them."""
    deaf()

    def wanted(job: Job) -> bool:
        say(pipe, Ask(numbers[id(job)]))
        return bool(pipe.recv())

    try:
        jobs = settled(jobs)
        numbers = {id(job): number for number, job in enumerate(jobs)}
        with feeds(jobs, wanted) as ahead:
            for job, feed in ahead:
                on_patches = functools.partial(_progress, pipe, job.input.slide_id)
                say(pipe, Done(numbers[id(job)], process_all(job, on_patches, feed)))
        say(pipe, Over())
    except SlidestreamError as error:
        say(pipe, Over(error))


def _progress(pipe: Connection, slide_id: str, done: int, total: int) -> None:
    say(pipe, Patches(slide_id, done, total))


def say(pipe: Connection, message: Ask | Patches | Done | Over) -> None:
    """Tell whoever started this process; if that is gone, end at once."""
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)
