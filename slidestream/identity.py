"""What a file is, by its content: never by its path or its time stamp."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

BLOCK = 1 << 16
END = 1 << 20
SAMPLES = 64
WHOLE_BELOW = 64 << 20


def content_identity(paths: Sequence[Path]) -> str:
    """Hex sha256 over the content of the files that make up one input, in the given order.

    Files below 64 MiB are hashed whole. Larger ones are hashed by size, first and last MiB (where
    TIFF and DICOM keep headers and indices) and 64 evenly spaced blocks of 64 KiB, so that a
    100,000-slide cohort can be identified without reading it.
    """
    whole = hashlib.sha256()
    for path in paths:
        whole.update(_file_digest(path))
    return whole.hexdigest()


def sampled_identity(size: int, read: Callable[[list[tuple[int, int]]], list[bytes]]) -> str:
    """As `content_identity` of one file, but also of one below 64 MiB at most 6 MiB are read.

    So a file between these sizes has another identity here than where it is read from a disk.

    Args:
        size: of the file in bytes.
        read: gives the bytes of every (start, length).
    """
    digest = hashlib.sha256(str(size).encode())
    for part in read(_samples(size) if size > 2 * END + SAMPLES * BLOCK else [(0, size)]):
        digest.update(part)
    return hashlib.sha256(digest.digest()).hexdigest()


def _file_digest(path: Path) -> bytes:
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size < WHOLE_BELOW:
            while block := file.read(END):
                digest.update(block)
            return digest.digest()
        for start, count in _samples(size):
            file.seek(start)
            digest.update(file.read(count))
    return digest.digest()


def _samples(size: int) -> list[tuple[int, int]]:
    """(start, length) of the parts that stand for a large file."""
    middle = [(i * (size - BLOCK) // (SAMPLES - 1), BLOCK) for i in range(SAMPLES)]
    return [(0, END), *middle, (size - END, END)]
