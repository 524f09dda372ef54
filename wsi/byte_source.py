"""Bytes of a file by position, in few large reads, from any thread."""

from __future__ import annotations

import io
import itertools
import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..errors import ReadFailed

GAP = 64 << 10
"""Bytes read in vain cost less than another read."""

MOST = 4 << 20
"""Bytes held at a time for one reading thread, unless a single span is larger."""

Span = tuple[int, int]
"""Where it begins and how long it is, in bytes."""


class ByteSource(Protocol):
    """What tiles are read from. Safe to share between threads."""

    def read(self, offset: int, count: int) -> bytes:
        """The bytes there; fewer where the file ends.

        Raises:
            ReadFailed: it is closed.
            OSError: they cannot be read.
        """
        ...

    def close(self) -> None: ...


class FileBytes:
    """A local file."""

    def __init__(self, path: Path) -> None:
        self._file: _Open | None = _Open(path)

    def read(self, offset: int, count: int) -> bytes:
        file = self._file
        if file is None:
            raise ReadFailed("The slide was closed.")
        return file.read(offset, count)

    def close(self) -> None:
        """Dropped, not closed: a thread that still reads keeps the file open until it is done."""
        self._file = None


class ByteFile(io.RawIOBase):
    """A source as a file to read, for libraries that want one."""

    def __init__(self, source: ByteSource, size: int) -> None:
        self._source, self._size, self._at = source, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._source.read(self._at, len(buffer))
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


class JoinedBytes:
    """Several files as if one followed the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.starts = [0, *itertools.accumulate(path.stat().st_size for path in paths)][:-1]
        self._files = [FileBytes(path) for path in paths]

    def read(self, offset: int, count: int) -> bytes:
        """The bytes there; none beyond the end of the file in which they begin."""
        number = bisect_right(self.starts, offset) - 1
        return self._files[number].read(offset - self.starts[number], count)

    def close(self) -> None:
        for file in self._files:
            file.close()


class _Open:
    """An open file that closes when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115

    def read(self, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), count, offset)
        with self._lock:  # Windows has one position per file
            self._file.seek(offset)
            return self._file.read(count)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


def runs(spans: Sequence[Span]) -> Iterator[list[int]]:
    """Numbers of the spans to read at once, all in file order: neighbours, at most `MOST` bytes."""
    run: list[int] = []
    begin = end = 0
    for number in sorted(range(len(spans)), key=spans.__getitem__):
        start, count = spans[number]
        if run and (start > end + GAP or start + count - begin > MOST):
            yield run
            run = []
        if not run:
            begin = end = start
        run.append(number)
        end = max(end, start + count)
    if run:
        yield run


def read_spans(source: ByteSource, spans: Sequence[Span]) -> Iterator[tuple[int, memoryview | None]]:
    """(number of the span, its bytes) for every span, in file order; None where they cannot be read."""
    for run in runs(spans):
        begin = spans[run[0]][0]
        together = _read(source, begin, max(sum(spans[number]) for number in run) - begin)
        for number in run:
            start, count = spans[number]
            part = together[start - begin : start - begin + count]
            if len(part) < count:  # a bad sector costs the tiles on it, not their neighbours
                part = _read(source, start, count)
            yield number, part if len(part) == count else None


def _read(source: ByteSource, offset: int, count: int) -> memoryview:
    try:
        return memoryview(source.read(offset, count))
    except OSError:
        return memoryview(b"")
