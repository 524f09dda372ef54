"""A process of its own for whatever a file may do to its decoder: both ends of it.

It is started when there is something for it to do, told things through a pipe, and killed when it dies,
stalls or is done with. It ends with its parent, in whatever way that ends: the pipe between them closes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from ..errors import DecoderCrash, EnvironmentProblem, LimitExceeded
from ..spawning import Peer, deaf
from .config import Execution

START_SECONDS = 120.0
"""How long a child may take until it answers: it loads its libraries, on a slow disk perhaps."""


@dataclass(frozen=True)
class Ready:
    """The first message of a child: it has started and listens."""


def may_have_children() -> bool:
    """Whether this process may start others: a daemonic one, such as a Dask worker's, may not."""
    return not multiprocessing.current_process().daemon


class Child:
    """One such process, seen from its parent.

    Args:
        limits: how much memory it may take, and how long it may be silent.
        serve: what it runs: a function of a module, given its end of the pipe, the memory in bytes
            that it may take (0 for any), and `given`. Its first message is `Ready`.
    """

    def __init__(self, limits: Execution, serve: Callable[..., None], *given: Any) -> None:
        self._limits = limits
        self._serve = serve
        self._given = given
        self._peer: Peer | None = None
        self._ready = False

    @property
    def runs(self) -> bool:
        """Whether it has been started, and not stopped since."""
        return self._peer is not None

    def start(self) -> None:
        """Start it; what it is told is heard as soon as it listens."""
        self._peer = Peer(self._serve, round(self._limits.memory_gb * 2**30), *self._given)
        self._ready = False

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._peer:
            self._peer.end()
            self._peer = None

    def tell(self, what: Any) -> None:
        """Send it something."""
        self._started.tell(what)

    def hear(self) -> Any:
        """Its next message.

        Raises:
            DecoderCrash: it died.
            LimitExceeded: it was silent for too long.
            EnvironmentProblem: it did not even start.
        """
        if not self._ready:
            self._await_start()
        try:
            if not self._started.pipe.poll(self._limits.timeout):
                raise _stalled(self._limits.timeout)
            return self._started.pipe.recv()
        except (EOFError, OSError):
            raise self._crash() from None

    @property
    def _started(self) -> Peer:
        assert self._peer is not None
        return self._peer

    def _await_start(self) -> None:
        try:
            pipe = self._started.pipe
            self._ready = pipe.poll(START_SECONDS) and isinstance(pipe.recv(), Ready)
        except (EOFError, OSError):
            self._ready = False
        if not self._ready:
            raise EnvironmentProblem(
                "A reader process does not start.",
                "Raise --reader-memory, or read within the process with --readers 0.",
            )

    def _crash(self) -> DecoderCrash:
        return DecoderCrash(
            f"Reading it ended the reader process ({self._started.how_ended()}).",
            "The file is damaged, or a decoder has a defect: copy it again from its source, or convert it.",
        )


def confine(memory: int) -> None:
    """The first thing a child does: it leaves Ctrl-C to its parent, and takes no more than `memory` bytes."""
    deaf()
    if not memory or sys.platform == "win32":
        return
    import resource

    # Not the address space: that counts mapped files and memory that is only reserved.
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (memory if hard < 0 else min(memory, hard), hard))


def talk_or_end(talk: Callable[[Connection], None], pipe: Connection) -> None:
    """Talk to the parent; when that is no longer possible, end at once, even amid a decoder's call."""
    try:
        talk(pipe)
    finally:
        os._exit(1)


def _stalled(seconds: float) -> LimitExceeded:
    return LimitExceeded(
        f"Nothing of it could be read within {seconds:g} s.",
        "If the file is sound and the disk slow, raise --timeout.",
    )
