"""Several folds trained at once, each in a process of its own, to the same weights as one after the other."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from safetensors.torch import load, save

from ..errors import EnvironmentProblem, SlidestreamError
from ..spawning import Peer, deaf
from .cases import Cases
from .fit import EpochReport, FoldJob, Progress, fit_head
from .spec import TrainSpec

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Task:
    """What every process of a crew is told first."""

    cases: Cases
    spec: TrainSpec

    @property
    def cache_bytes(self) -> int:
        """Of each process: they share what one alone would have, and so does their parent."""
        return int(self.spec.cache_gb * 1e9 / (self.spec.jobs + 1))


def train_at_once(jobs: Sequence[FoldJob], task: Task, progress: Progress) -> Iterator[tuple[int, Weights]]:
    """The number and the weights of every fold, as they are finished.

    Args:
        jobs: at least one; as many as the spec says are trained at once.
        task: what they have in common.
        progress: told of every epoch, in this process.

    Raises:
        EnvironmentProblem: a process died.
        SlidestreamError: whatever training raised.
    """
    waiting = deque(jobs)
    crew = [_Worker(task) for _ in range(min(task.spec.jobs, len(jobs)))]
    try:
        busy = {worker.start(waiting.popleft()): worker for worker in crew}
        while busy:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                said = worker.hear()
                if isinstance(said, EpochReport):
                    progress(said)
                    continue
                yield worker.fold, load(said)
                if waiting:
                    worker.tell(waiting.popleft())
                else:
                    del busy[pipe]  # type: ignore[arg-type]
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """One process, seen from its parent."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._peer: Peer | None = None
        self.fold = -1

    def start(self, job: FoldJob) -> Connection:
        """Start it with its first fold; the pipe to listen at."""
        self._peer = Peer(_serve, self._task)
        self.tell(job)
        return self._peer.pipe

    def tell(self, job: FoldJob) -> None:
        """Give it a fold to train."""
        assert self._peer
        self.fold = job.fold
        self._peer.tell(job)

    def hear(self) -> Any:
        """A report, or the finished weights as bytes."""
        assert self._peer
        try:
            said = self._peer.pipe.recv()
        except (EOFError, OSError):
            raise EnvironmentProblem(
                f"The process that trained fold {self.fold + 1} ended ({self._peer.how_ended()}).",
                "Memory may be too small for so many: use fewer --jobs. Finished folds are kept.",
            ) from None
        if isinstance(said, SlidestreamError):
            raise said
        return said

    def stop(self) -> None:
        """End it, whatever it does: it writes no file."""
        if self._peer:
            self._peer.end()


def _serve(pipe: Connection, task: Task) -> None:
    """Train what comes through the pipe until it closes; end at once where the parent is gone."""
    deaf()
    bags = task.cases.loader(task.cache_bytes)
    try:
        while True:
            head = fit_head(pipe.recv(), bags, task.spec, pipe.send)
            pipe.send(save(head.state_dict()))
    except SlidestreamError as error:
        pipe.send(error)
    finally:
        os._exit(1)
