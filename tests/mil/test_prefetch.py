"""Results come in order, ahead of their use, and errors where they belong."""

from __future__ import annotations

import threading

import pytest

from slidestream.mil.prefetch import Prefetch


def test_results_come_in_order_from_one_other_thread() -> None:
    threads: set[str] = set()

    def make(item: int) -> int:
        threads.add(threading.current_thread().name)
        return item * item

    assert list(Prefetch(make, range(20))) == [n * n for n in range(20)]
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_no_more_is_made_than_is_asked_for() -> None:
    made: list[int] = []
    for used, _ in enumerate(Prefetch(made.append, range(50), ahead=2), start=1):
        assert len(made) <= used + 2


def test_the_next_is_made_while_the_last_is_used() -> None:
    begun = [threading.Event() for _ in range(5)]
    for item in Prefetch(lambda item: (begun[item].set(), item)[1], range(5), ahead=1):
        assert item == 4 or begun[item + 1].wait(10)


def test_an_error_comes_in_its_turn_and_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    failing = iter(Prefetch(lambda item: 1 // (2 - item), range(9)))
    assert [next(failing), next(failing)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(failing)
    results = iter(Prefetch(str, range(1000)))
    assert next(results) == "0"
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_waiting_is_counted() -> None:
    gate = threading.Event()
    threading.Timer(0.05, gate.set).start()
    slow = Prefetch(lambda item: gate.wait(10), range(3))
    list(slow)
    assert slow.waited >= 0.04
