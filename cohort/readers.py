"""Reader processes, seen from the process that encodes: what a file does to its decoder stays there."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..spawning import context
from ..tiling.stream import PatchBatch, Reading
from .child import Child, may_have_children
from .config import Execution
from .job import Job
from .reader import Ended, Filled, Message, serve
from .reading import Feed, Prepared, read_here, reading_of
from .ring import Ring

Wanted = Callable[[Job], bool]
JobFeed = tuple[Job, AbstractContextManager[Feed]]


@contextmanager
def feeds(jobs: Sequence[Job], wanted: Wanted) -> Iterator[Iterator[JobFeed]]:
    """The jobs that are wanted, in order, each with its feed.

    They are read by reader processes, or by this one if none are asked for or allowed.

    Args:
        wanted: asked once per job, just before it is handed over to be read.
    """
    if not jobs or not jobs[0].execution.readers or not may_have_children():
        yield ((job, read_here(job)) for job in jobs if wanted(job))
        return
    with Readers(jobs, wanted) as readers:
        yield readers.feeds()


class Readers:
    """Reads jobs ahead in processes of their own, which live as long as the run. A context manager.

    The jobs go round: while one is encoded, the other processes open theirs and fill their rings.
    A process that dies, stalls or runs out of memory costs its job; it is started again for the next.
    """

    def __init__(self, jobs: Sequence[Job], wanted: Wanted) -> None:
        self._waiting = filter(wanted, jobs)
        count = min(jobs[0].execution.readers, len(jobs))
        self._readers = [Reader(jobs[0].execution, _largest_batch(jobs)) for _ in range(count)]
        encodes = any(job.card is None or job.card.dim for job in jobs[0].members)
        self._device = jobs[0].execution.device if encodes else "cpu"
        self._pinned = ExitStack()

    def __enter__(self) -> Self:
        for reader in self._readers:
            self._hand_over(reader)
            reader.wake()
        if self._device != "cpu":
            self._pin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers:
            reader.stop()
        self._pinned.close()

    def feeds(self) -> Iterator[JobFeed]:
        """The jobs in order, each to be taken before the next is asked for."""
        for reader in itertools.cycle(self._readers):
            self._hand_over(reader)
            for each in self._readers:
                each.wake()
            if reader.oldest is None:
                return
            yield reader.oldest, reader.feed()

    def _pin(self) -> None:
        """Let a GPU take batches from the rings itself; the readers are starting meanwhile."""
        from ..features.device import pinned
        from ..features.encoder import resolve_device

        for reader in self._readers:
            self._pinned.enter_context(pinned(reader.memory, resolve_device(self._device)))

    def _hand_over(self, reader: Reader) -> None:
        """Give a reader its next job before it has ended the last, so that it never waits for one."""
        job = next(self._waiting, None)
        if job is not None:
            reader.submit(job)


def _largest_batch(jobs: Sequence[Job]) -> int:
    """Bytes of the largest batch that any of the jobs can have."""
    config, batch_size = jobs[0].config, jobs[0].execution.batch_size
    kinds = {job.input.kind for job in jobs}
    side = max((config.volume if kind == "volume" else config.patch).size_px for kind in kinds)
    return batch_size * side * side * 3


class Reader:
    """One reader process and its ring; the process is replaced when it is lost, the ring stays.

    Args:
        execution: of the run.
        slot_bytes: of the largest batch.
    """

    def __init__(self, execution: Execution, slot_bytes: int) -> None:
        # One more than are being read: while the encoder holds a batch, the next is already there.
        self._ring = Ring(context, Reading(0, workers=execution.workers).batches + 1, slot_bytes)
        self._child = Child(execution, serve, self._ring)
        self._jobs: deque[Job] = deque()
        self._ended = False

    @property
    def memory(self) -> NDArray[np.uint8]:
        """Of its ring, uint8 (bytes,)."""
        return self._ring.whole()

    @property
    def oldest(self) -> Job | None:
        """The job that the next feed is of."""
        return self._jobs[0] if self._jobs else None

    def submit(self, job: Job) -> None:
        """Add a job behind those that have not ended yet."""
        self._jobs.append(job)
        if self._child.runs:
            self._child.tell(job)

    def wake(self) -> None:
        """Start the process, if there is anything to do and it does not run."""
        if self._child.runs or not self._jobs:
            return
        self._child.start()
        for job in self._jobs:
            self._child.tell(job)

    @contextmanager
    def feed(self) -> Iterator[Feed]:
        """The oldest job that has not ended. Left early it costs the process, not the jobs behind it."""
        self._ended = False
        try:
            prepared = self._prepared()
            yield Feed(prepared, self._batches(reading_of(self._jobs[0], prepared)))
        finally:
            self._jobs.popleft()
            if not self._ended:
                self.stop()

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._child.stop()

    def _prepared(self) -> Prepared:
        prepared = self._receive()
        if not isinstance(prepared, Prepared):
            raise TypeError(f"a job began with {type(prepared).__name__}")
        return prepared

    def _batches(self, reading: Reading) -> Iterator[PatchBatch]:
        while isinstance(filled := self._receive(), Filled):
            rows = len(filled.status)
            pixels = self._ring.batch(filled.slot, rows, reading.size_px)
            yield PatchBatch(pixels, np.arange(filled.start, filled.start + rows), filled.status)
            self._child.tell(filled.slot)

    def _receive(self) -> Message:
        """The next message of the oldest job.

        Raises:
            InputError: reading ended with it; or the process died (DecoderCrash) or stalled (LimitExceeded).
        """
        message: Message = self._child.hear()
        if isinstance(message, Ended):
            self._ended = message.usable
            if message.error:
                raise message.error
        return message
