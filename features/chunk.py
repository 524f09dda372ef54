"""The bytes of a finished chunk, never without its crc32c: all of them in place, or some rows of them.

A large chunk is mapped rather than read: nothing is copied, processes that read the same bag share its
memory, and checking it is all the work. That is done only where the system can be asked first whether
every page is there, since a bad sector found later would end the process and not only cost the slide.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from .layout import CRC_BYTES

POPULATE_READ = 22
"""MADV_POPULATE_READ of Linux 5.14: fetch every page now, and say so if one cannot be had."""
MAPPED_BYTES = 8 << 20
"""A smaller chunk is read: that takes no longer, and a mapped file stays open while its memory is used."""
NO_SUCH_ADVICE = (errno.EINVAL, errno.ENOSYS, errno.ENODEV)


class BadChecksum(ValueError):
    """What was read is not what was written."""


def whole_chunk(path: Path) -> NDArray[np.uint8]:
    """All bytes of a chunk but its checksum, writable: a change to them never reaches the file.

    Raises:
        OSError: the file cannot be read.
        BadChecksum: its bytes are not those that were written.
    """
    with open(path, "rb", buffering=0) as file:
        data = _mapped(file.fileno()) if os.fstat(file.fileno()).st_size >= MAPPED_BYTES else None
        if data is None:
            data = np.fromfile(file, np.uint8)
    content = data[:-CRC_BYTES]
    if google_crc32c.value(content) != int.from_bytes(data[-CRC_BYTES:].tobytes(), "little"):
        raise BadChecksum(path.name)
    return content


def chunk_rows(path: Path, rows: Sequence[int], row_bytes: int, checks: Sequence[int]) -> NDArray[np.uint8]:
    """Some rows of a chunk (len(rows), row_bytes); nothing else is read.

    Args:
        rows: their numbers, in any order.
        checks: the crc32c of each of them.

    Raises:
        OSError: the file cannot be read.
        BadChecksum: a row is not what was written.
    """
    found = np.empty((len(rows), row_bytes), np.uint8)
    with open(path, "rb", buffering=0) as file:
        for row, into, check in zip(rows, found, checks, strict=True):
            file.seek(row * row_bytes)
            if file.readinto(into.data) != row_bytes or google_crc32c.value(into) != check:
                raise BadChecksum(path.name)
    return found


def _mapped(handle: int) -> NDArray[np.uint8] | None:
    """The file as memory; None where the system cannot promise all of it."""
    if sys.platform != "linux":
        return None
    memory = mmap.mmap(handle, 0, access=mmap.ACCESS_COPY)
    try:
        memory.madvise(POPULATE_READ)
    except OSError as error:
        if error.errno in NO_SUCH_ADVICE:
            return None
        raise
    return np.frombuffer(memory, np.uint8)
