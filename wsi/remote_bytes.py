"""Slides that a URL names: their bytes by range requests, a few large ones, never the whole file."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

from ..errors import InputNotFound, MissingExtra, ReadFailed, UnsupportedFormat
from .byte_source import Span

BLOCK = 256 << 10
"""Bytes asked for at least: over a network they take as long as the answer's first byte."""

KEPT = 128
"""Blocks kept: 32 MiB."""

ATTEMPTS, PAUSE_S = 3, 0.5
"""Tries of one read, and the pause after the first of them; each later pause is twice as long."""

AT_ONCE = 8
"""Ranges asked for at the same time."""

CONNECT_S, ANSWER_S = 15, 60
EXTRA = "pip install 'slidestream[remote]'"
COPY = "Copy the file to a disk first."

T = TypeVar("T")


def url_of(path: str | os.PathLike[str]) -> str | None:
    """The URL that a user named; None where it is a path. A `Path` made of a URL has lost a slash of it."""
    text = path.as_posix() if isinstance(path, PurePath) else os.fspath(path)
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])", text)
    if found is None or found[1].lower() == "file":
        return None
    return f"{found[1]}://{text[found.end() :]}"


class RemoteBytes:
    """A `ByteSource` over any filesystem that fsspec knows. Safe to share between threads.

    Bytes are asked for in whole blocks, neighbours together, and the blocks asked for last are kept. A
    read that fails is tried again; once all tries of one have failed, others are tried once only until
    one succeeds, so that a dead server does not cost every tile its pauses.
    """

    def __init__(self, url: str) -> None:
        """Asks the server for the size, and whether it serves parts.

        Raises:
            MissingExtra: a package for such URLs is not installed.
            InputNotFound: nothing there, or nobody answers.
            UnsupportedFormat: it serves whole files only.
        """
        self._files, self._path = _filesystem(url)
        self._attempts = ATTEMPTS
        self._blocks: OrderedDict[int, bytes] | None = OrderedDict()
        self._lock = threading.Lock()
        try:
            self.size = self._tried(self._probe)
        except FileNotFoundError:
            raise InputNotFound(f"There is no {_shown(url)} to be read.", "Check the address.") from None
        except OSError as error:
            raise unreachable(url, f" ({error})") from None

    @property
    def silent(self) -> bool:
        """Whether the last read failed, however often it was tried."""
        return self._attempts == 1

    def read(self, offset: int, count: int) -> bytes:
        end = min(offset + count, self.size)
        numbers = range(offset // BLOCK, -(-end // BLOCK))
        with self._lock:
            if self._blocks is None:
                raise ReadFailed("The slide was closed.")
            found = {number: self._blocks[number] for number in numbers if number in self._blocks}
        missing = [number for number in numbers if number not in found]
        if missing:
            found |= self._fetch(missing[0], missing[-1] + 1)
        together = b"".join(found[number] for number in numbers)
        begin = offset - numbers.start * BLOCK
        return together[begin : begin + end - offset]

    def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of each span, all of them inside the file; nothing is kept of them.

        Raises:
            OSError: some of them cannot be read.
        """
        together = [spans[i : i + AT_ONCE] for i in range(0, len(spans), AT_ONCE)]
        return [part for some in together for part in self._tried(partial(self._ranges, some))]

    def close(self) -> None:
        with self._lock:
            self._blocks = None

    def _ranges(self, spans: Sequence[Span]) -> list[bytes]:
        starts, ends = [start for start, _ in spans], [start + count for start, count in spans]
        parts = self._files.cat_ranges([self._path] * len(spans), starts, ends, on_error="raise")
        return [_whole(part, count) for part, (_, count) in zip(parts, spans, strict=True)]

    def _fetch(self, first: int, end: int) -> dict[int, bytes]:
        """Neighbouring blocks in one request."""
        start, stop = first * BLOCK, min(end * BLOCK, self.size)
        together = self._tried(
            lambda: _whole(self._files.cat_file(self._path, start=start, end=stop), stop - start)
        )
        found = {n: together[(n - first) * BLOCK : (n - first + 1) * BLOCK] for n in range(first, end)}
        with self._lock:
            if self._blocks is not None:
                self._blocks.update(found)
                while len(self._blocks) > KEPT:
                    self._blocks.popitem(last=False)
        return found

    def _probe(self) -> int:
        """The size. The last byte is asked for in a way that stops at once if more comes."""
        with self._files.open(self._path, "rb", cache_type="none") as file:
            size = getattr(file, "size", None)
            if not isinstance(size, int) or not file.seekable():
                raise _serves_no_parts()
            try:
                file.seek(max(size - 1, 0))
                file.read(1)
            except ValueError:
                raise _serves_no_parts() from None
        return size

    def _tried(self, action: Callable[[], T]) -> T:
        """
        Raises:
            OSError: every attempt failed; in words that hold nothing of the URL.
        """
        attempts, problem = self._attempts, ""
        for attempt in range(attempts):
            if attempt:
                time.sleep(PAUSE_S * 2 ** (attempt - 1))
            try:
                result = action()
            except UnsupportedFormat:
                raise
            except Exception as error:  # every filesystem has errors of its own
                if isinstance(error, FileNotFoundError) and _answered(error):
                    raise
                problem = type(error.__cause__ or error).__name__
            else:
                self._attempts = ATTEMPTS
                return result
        self._attempts = 1
        raise OSError(problem)


def unreachable(url: str, why: str = "") -> InputNotFound:
    """The error for a server that does not answer, or not any more."""
    return InputNotFound(f"{_shown(url)} cannot be reached{why}.", "Check the address and the network.")


def _answered(error: FileNotFoundError) -> bool:
    """Whether a server said so. fsspec says it too, of http, where none answered: for another cause."""
    return error.__cause__ is None or hasattr(error.__cause__, "status")


def _whole(part: bytes, count: int) -> bytes:
    if len(part) != count:
        raise OSError("an answer of the wrong length")
    return part


def _serves_no_parts() -> UnsupportedFormat:
    return UnsupportedFormat("A server that serves whole files only, or does not say how large.", COPY)


def _shown(url: str) -> str:
    """Without what follows a question mark: it may be a key."""
    return url.partition("?")[0]


def _filesystem(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0].lower()
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url, **_options(protocol))
    except ImportError:
        raise MissingExtra(
            f"A package that reads {protocol}:// is not installed.",
            f"{EXTRA}; beside it s3:// needs s3fs, gs:// gcsfs, az:// adlfs.",
        ) from None
    except ValueError:
        raise InputNotFound(f"Nothing here knows how to read {protocol}://.", COPY) from None
    return files, str(path)


def _options(protocol: str) -> dict[str, Any]:
    if protocol not in ("http", "https"):
        return {}
    import aiohttp

    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=ANSWER_S)
    return {"client_kwargs": {"timeout": limits, "trust_env": True}}
