"""What runs inside a reader process: jobs in, headers out, pixels into shared memory.

A reader ends with its parent, in whatever way that ends: the pipe between them closes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import Queue, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from ..errors import SlidestreamError
from ..tiling.stream import stream_patches
from .failure import coded
from .job import Job
from .reading import Prepared, prepare, reading_of
from .ring import Ring


@dataclass(frozen=True)
class Ready:
    """The process has started and takes jobs."""


@dataclass(frozen=True)
class Filled:
    """A batch lies in a slot: its first row of the grid, and the status (B,) of its patches."""

    slot: int
    start: int
    status: NDArray[np.uint8]


@dataclass(frozen=True)
class Ended:
    """A job is over. `usable`: the process can be trusted with another one."""

    error: SlidestreamError | None
    usable: bool


Message = Ready | Prepared | Filled | Ended


def serve(pipe: Connection, ring: Ring, memory: int) -> None:
    """Read job after job until the parent is gone.

    Args:
        pipe: takes `Job`s and the numbers of slots that are free again; gives `Message`s, the jobs in
            order, each as one `Prepared`, many `Filled` and one `Ended`.
        ring: where batches are put.
        memory: limit of this process in bytes, where the system knows one; 0 for none.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    _limit_memory(memory)
    reader = _Reader(ring)
    for talk in (reader.listen, reader.speak):
        threading.Thread(target=_or_end, args=(talk, pipe), daemon=True).start()
    done: Ready | Ended = Ready()
    while True:
        reader.outbox.put(done)
        reader.outbox.join()  # all is said before the next input can end this process
        done = reader.read(reader.jobs.get())


def _or_end(talk: Callable[[Connection], None], pipe: Connection) -> None:
    """Talk to the parent; when that is no longer possible, end at once, even amid a decoder's call."""
    try:
        talk(pipe)
    finally:
        os._exit(1)


class _Reader:
    """The queues between the threads of a reader, and the reading itself."""

    def __init__(self, ring: Ring) -> None:
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        # A header of some MB would block the pipe until the parent wants it; reading goes on behind it.
        self.outbox: Queue[Message] = Queue()
        self._ring = ring
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(ring.slots):
            self._free.put(slot)

    def listen(self, pipe: Connection) -> None:
        while True:
            said = pipe.recv()
            if isinstance(said, Job):
                self.jobs.put(said)
            else:
                self._free.put(said)

    def speak(self, pipe: Connection) -> None:
        while True:
            pipe.send(self.outbox.get())
            self.outbox.task_done()

    def read(self, job: Job) -> Ended:
        """Read one input into the ring. Whatever is wrong with it is said in the last message."""
        try:
            self._read(job)
        except Exception as error:  # noqa: BLE001 - one bad slide costs one slide
            return Ended(coded(error), usable=not isinstance(error, MemoryError))
        return Ended(None, usable=True)

    def _read(self, job: Job) -> None:
        taken: deque[int] = deque()
        with job.opener(job.input, job.config.scaling) as source:
            prepared = prepare(source, job)
            self.outbox.put(prepared)
            reading = reading_of(job, prepared)

            def take() -> NDArray[np.uint8]:
                taken.append(self._free.get())
                return self._ring.batch(taken[-1], reading.batch_size, reading.size_px)

            try:
                for batch in stream_patches(source, prepared.grid, reading, take):
                    self.outbox.put(Filled(taken.popleft(), int(batch.index[0]), batch.status))
            finally:
                for slot in taken:
                    self._free.put(slot)


def _limit_memory(limit: int) -> None:
    if not limit or sys.platform == "win32":
        return
    import resource

    # Not the address space: that counts mapped files and memory that is only reserved.
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
