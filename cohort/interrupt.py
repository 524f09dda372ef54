"""Ctrl-C: a short critical section finishes first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds SIGINT back until the block is left. Does nothing off the main thread, which gets no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard and callable(before):
            before(*heard[0])
<<<<<<< HEAD
=======


@contextmanager
def born_deaf() -> Iterator[None]:
    """Processes started in this block get no SIGINT, from their first instruction on, where POSIX allows."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started now if it does not run: starting it ends with SIGINT unblocked.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def deaf() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent of this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
>>>>>>> encode
