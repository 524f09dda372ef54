"""Killed at every single step of writing, a store is resumed to the same bytes.

As SQLite tests its journal: count the steps of one clean write, then write again and again, each time
dying at the next step (half way through it, where the step is a write), and go on after that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from slidestream.errors import DiskFull, StoreIncomplete, Unreadable
from slidestream.features import disk
from slidestream.features.copying import copy_store
from slidestream.features.store import open_store
from slidestream.features.verify import verify_store
from slidestream.features.writer import Resume, StoreWriter

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    # The children only write files and leave by os._exit.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

N, DIM, BATCH = 23, 4, 8
DIED = 99
STATUS = np.array([1 if i == 4 else 0 for i in range(N)], np.uint8)
VALUES = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
FIXED = {
    "coords": np.arange(2 * N, dtype=np.int32).reshape(N, 2),
    "tissue": np.linspace(0, 1, N).astype(np.float16),
    "thumbnail": np.zeros((3, 4, 3), np.uint8),
    "mask": np.ones((3, 4), np.uint8),
}


def write(
    place: Path, key: str = "k", on_batch: Callable[[int], None] = lambda row: None, slide_id: str = "a"
) -> int:
    """Write the store from wherever an earlier writer stopped; returns the first row written."""
    with StoreWriter(place, FIXED, DIM, Resume(key, BATCH)) as writer:
        first = writer.rows_done
        for i in range(first, N, BATCH):
            on_batch(i)
            status = STATUS[i : i + BATCH]
            writer.append(status, VALUES[i : i + BATCH][status == 0])
        writer.commit({"schema": 1, "slide_id": slide_id, "encoder": {"dim": DIM}})
    return first


def tree(place: Path) -> dict[str, bytes]:
    return {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


@pytest.fixture(autouse=True)
def every_batch_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slidestream.features.writer.SYNC_SECONDS", 0.0)
    monkeypatch.setattr(disk, "PIECE_BYTES", 256)  # a copy takes several
    # What a process has written stays when it dies; waiting for the disk would only take minutes.
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Tripwire:
    """Counts the steps of the storage layer and dies at one of them."""

    def __init__(self, fatal: int) -> None:
        self.steps, self._fatal = 0, fatal

    def __enter__(self) -> Tripwire:
        self._real = {name: getattr(disk, name) for name in ("sync", "sync_folder", "rename", "remove_tree")}
        for name, function in self._real.items():
            setattr(disk, name, self._before(function))
        self._real["write_all"] = disk.write_all
        disk.write_all = self._torn  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        for name, function in self._real.items():
            setattr(disk, name, function)

    def _step(self) -> bool:
        self.steps += 1
        return self.steps - 1 == self._fatal

    def _before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*arguments: Any) -> Any:
            if self._step():
                os._exit(DIED)
            return function(*arguments)

        return stepped

    def _torn(self, file: BinaryIO, data: bytes) -> None:
        if self._step():
            self._real["write_all"](file, data[: len(data) // 2])
            os._exit(DIED)
        self._real["write_all"](file, data)


def in_child(work: Callable[[], Any]) -> int:
    """Exit code of a forked child that does the work."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child must never return into pytest
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dying_at(step: int, place: Path) -> int:
    def work() -> None:
        with Tripwire(step):
            write(place)

    return in_child(work)


@pytest.fixture
def tell(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Says a figure that the test found, on the terminal."""

    def said(figure: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{request.node.name}: {figure}\n")

    return said


@pytest.mark.parametrize("over", ["nothing", "an older store"])
def test_every_crash_point(tmp_path: Path, over: str, tell: Callable[[str], None]) -> None:
    write(tmp_path / "oracle.zarr")
    expected = tree(tmp_path / "oracle.zarr")
    with Tripwire(-1) as wire:
        write(tmp_path / "count.zarr")
    assert wire.steps > 50
    steps = 0
    for step in range(10_000):
        place = tmp_path / f"{step}" / "a.zarr"
        if over == "an older store":
            write(place)
            document = place / "zarr.json"
            document.write_text(document.read_text().replace('"slide_id": "a"', '"slide_id": "b"'))
        code = dying_at(step, place)
        if code == 0:
            break
        assert code == DIED
        steps += 1
        if over == "nothing":
            readable_only_when_whole(place, expected)
        write(place)
        assert tree(place) == expected, f"step {step}"
        assert sorted(p.name for p in place.parent.iterdir()) == ["a.zarr"], f"step {step}"
        assert verify_store(place) == []
    assert steps >= wire.steps
    tell(f"killed at {steps} steps of {steps}, resumed to the same bytes at each")


def test_every_crash_point_of_a_copy(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """A store is copied under another id, over nothing, dying at every step."""
    write(tmp_path / "a.zarr")
    write(tmp_path / "oracle.zarr", slide_id="b")
    expected = tree(tmp_path / "oracle.zarr")
    for step in range(10_000):
        place = tmp_path / f"{step}" / "b.zarr"

        def copy(place: Path = place, step: int = step) -> None:
            with Tripwire(step):
                copy_store(tmp_path / "a.zarr", place, "b")

        code = in_child(copy)
        readable_only_when_whole(place, expected)
        if code == 0:
            break
        assert code == DIED
        copy_store(tmp_path / "a.zarr", place, "b")
        assert tree(place) == expected, f"step {step}"
        assert sorted(p.name for p in place.parent.iterdir()) == ["b.zarr"], f"step {step}"
    assert step > 30
    assert verify_store(place) == []
    tell(f"killed at {step} steps of {step}, whole or not there at each")


def readable_only_when_whole(place: Path, expected: dict[str, bytes]) -> None:
    try:
        open_store(place)
    except StoreIncomplete:
        return
    assert tree(place) == expected


def test_a_resumed_writer_takes_over_what_was_noted(tmp_path: Path) -> None:
    def killed(row: int) -> None:
        if row == 16:
            os._exit(DIED)

    assert in_child(lambda: write(tmp_path / "a.zarr", on_batch=killed)) == DIED
    assert write(tmp_path / "a.zarr") == 16
    write(tmp_path / "oracle.zarr")
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "oracle.zarr")


def test_rows_of_another_key_are_not_taken_over(tmp_path: Path) -> None:
    def killed(row: int) -> None:
        if row == 16:
            os._exit(DIED)

    in_child(lambda: write(tmp_path / "a.zarr", on_batch=killed))
    assert write(tmp_path / "a.zarr", key="other") == 0


def test_an_interrupted_writer_notes_its_rows_and_a_failed_slide_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slidestream.features.writer.SYNC_SECONDS", 1e9)

    def stop(error: BaseException) -> Callable[[int], None]:
        def at(row: int) -> None:
            if row == 8:
                raise error

        return at

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.zarr", on_batch=stop(KeyboardInterrupt()))
    assert write(tmp_path / "a.zarr") == 8
    with pytest.raises(Unreadable):
        write(tmp_path / "b.zarr", on_batch=stop(Unreadable("bad")))
    assert not list(tmp_path.glob(".b*"))


def test_a_full_disk_at_every_write_leaves_no_store_and_can_be_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC at each write in turn: a coded error, no store in place, and then the same bytes."""
    write(tmp_path / "oracle.zarr")
    expected = tree(tmp_path / "oracle.zarr")
    real = disk.write_all
    for fatal in range(10_000):
        count = iter(range(10_000))

        def full(file: BinaryIO, data: bytes, count: Any = count, fatal: int = fatal) -> None:
            if next(count) == fatal:
                real(file, data[: len(data) // 2])
                raise OSError(28, "No space left on device")
            real(file, data)

        place = tmp_path / str(fatal) / "a.zarr"
        monkeypatch.setattr(disk, "write_all", full)
        try:
            write(place)
            break
        except DiskFull:
            with pytest.raises(StoreIncomplete):
                open_store(place)
        monkeypatch.setattr(disk, "write_all", real)
        write(place)
        assert tree(place) == expected
    assert fatal > 20
