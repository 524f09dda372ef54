"""Processes that are started afresh: what they inherit, and how they ended."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any

context = multiprocessing.get_context("spawn")


def spawned(target: Callable[..., None], given: tuple[Any, ...], daemon: bool = True) -> SpawnProcess:
    """A process that runs a function of a module; one that is no daemon may have children of its own.

    It gets no SIGINT from its first instruction on, and does not run the main script again.
    """
    process = context.Process(target=target, args=given, daemon=daemon)
    with _born_deaf(), _main_left_out():
        process.start()
    return process


class Peer:
    """A spawned daemon and the pipe to it, seen from its parent. It owns no file, so that it may be killed.

    Args:
        serve: what it runs: a function of a module, given its end of the pipe and `given`.

    Attributes:
        pipe: this end of it.
    """

    def __init__(self, serve: Callable[..., None], *given: Any) -> None:
        self.pipe, theirs = context.Pipe()
        self._process = spawned(serve, (theirs, *given))
        theirs.close()

    def tell(self, what: Any) -> None:
        """Send it something."""
        # One that is gone is noticed where its messages end: those it has sent still count.
        with suppress(OSError):
            self.pipe.send(what)

    def how_ended(self) -> str:
        """ "SIGSEGV", "exit code 1": of one whose messages have ended."""
        self._process.join(5)
        return how_ended(self._process.exitcode)

    def end(self) -> None:
        """Kill it, whatever it does."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()


def deaf() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent of this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _born_deaf() -> Iterator[None]:
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


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Processes started in this block do not run the main script again, as spawned ones do otherwise.

    They would import all that it imports, torch most likely, and run it whole where it lacks the usual guard.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def how_ended(exit_code: int | None) -> str:
    """ "SIGSEGV", "exit code 1"."""
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
