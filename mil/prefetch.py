"""Results made in a background thread while the ones before them are used."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class Prefetch(Generic[Item, Made]):
    """The results of `make` for each item, in order, made at most `ahead` of their use.

    One thread makes them, one after the other, so that `make` needs no lock and may draw random numbers
    from a generator of its own. What it raises is raised where its result is asked for.

    Attributes:
        waited: seconds that whoever iterates had to wait so far.
    """

    def __init__(self, make: Callable[[Item], Made], items: Iterable[Item], ahead: int = 2) -> None:
        self._make, self._items, self._ahead = make, items, ahead
        self.waited = 0.0

    def __iter__(self) -> Iterator[Made]:
        due: deque[Future[Made]] = deque()
        with ThreadPoolExecutor(1, "prefetch") as thread:
            try:
                for item in self._items:
                    due.append(thread.submit(self._make, item))
                    if len(due) > self._ahead:
                        yield self._wait(due.popleft())
                while due:
                    yield self._wait(due.popleft())
            finally:
                for future in due:
                    future.cancel()

    def _wait(self, future: Future[Made]) -> Made:
        start = time.perf_counter()
        try:
            return future.result()
        finally:
            self.waited += time.perf_counter() - start
