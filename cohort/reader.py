"""What runs inside a reader process: jobs in, headers out, pixels into shared memory."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import Queue, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from ..errors import SlidestreamError
from ..tiling.stream import stream_patches
from .child import Ready, confine, talk_or_end
from .failure import coded
from .job import Job
from .reading import Prepared, prepare, reading_of
from .ring import Ring


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


def serve(pipe: Connection, memory: int, ring: Ring) -> None:
    """Read job after job until the parent is gone.

    Args:
        pipe: takes `Job`s and the numbers of slots that are free again; gives `Message`s, the jobs in
            order, each as one `Prepared`, many `Filled` and one `Ended`.
        memory: limit of this process in bytes, where the system knows one; 0 for none.
        ring: where batches are put.
    """
    confine(memory)
    reader = _Reader(ring)
    for talk in (reader.listen, reader.speak):
        threading.Thread(target=talk_or_end, args=(talk, pipe), daemon=True).start()
    done: Ready | Ended = Ready()
    while True:
        reader.outbox.put(done)
        reader.outbox.join()  # all is said before the next input can end this process
        done = reader.read(reader.jobs.get())


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
            prepared, readable = prepare(source, job)
            self.outbox.put(prepared)
            reading = reading_of(job, prepared)

            def take() -> NDArray[np.uint8]:
                taken.append(self._free.get())
                return self._ring.batch(taken[-1], reading.batch_size, reading.size_px)

            try:
                for batch in stream_patches(readable, prepared.grid, reading, take):
                    self.outbox.put(Filled(taken.popleft(), int(batch.index[0]), batch.status))
            finally:
                for slot in taken:
                    self._free.put(slot)
