"""What a file is, by its content: never by its path or its time stamp."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

How = Literal["fast", "full"]
"""`fast` samples large files, `full` reads every byte."""

BLOCK = 1 << 16
END = 1 << 20
SAMPLES = 64
WHOLE_BELOW = 64 << 20
SAMPLED = "sampled-"
"""Begins an identity that does not depend on every byte."""


def content_identity(paths: Sequence[Path], how: How = "fast") -> str:
    """Hex sha256 over the content of the files that make up one input, in the given order.

    Files below 64 MiB are always hashed whole. Larger ones too where `how` is "full"; else by size,
    first and last MiB (where TIFF and DICOM keep headers and indices) and 64 evenly spaced blocks of
    64 KiB, so that a 100,000-slide cohort can be identified without reading it. Such an identity
    begins with "sampled-": a change between the blocks that keeps the size is not seen by it.
    """
    sampled = how == "fast" and any(os.path.getsize(path) >= WHOLE_BELOW for path in paths)
    digest = hashlib.sha256()
    for path in paths:
        digest.update(_file_digest(path, how))
    return f"{SAMPLED if sampled else ''}{digest.hexdigest()}"


def remote_identity(size: int, read: Callable[[list[tuple[int, int]]], list[bytes]], how: How) -> str:
    """As `content_identity` of one file, but also below 64 MiB at most 6 MiB are read for "fast".

    So a file between these sizes has another identity here than where it is read from a disk.

    Args:
        size: of the file in bytes.
        read: gives the bytes of every (start, length).
        how: see `How`.
    """
    sampled = how == "fast" and size > 2 * END + SAMPLES * BLOCK
    spans = [(start, min(END, size - start)) for start in range(0, size, END)]
    digest = hashlib.sha256(str(size).encode())
    for part in read(_samples(size)) if sampled else (read([span])[0] for span in spans):
        digest.update(part)
    return f"{SAMPLED if sampled else ''}{hashlib.sha256(digest.digest()).hexdigest()}"


def how_of(identity: str) -> How:
    """How an identity was taken; "full" where the files are small enough for both to be the same."""
    return "fast" if identity.startswith(SAMPLED) else "full"


def _file_digest(path: Path, how: How) -> bytes:
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size < WHOLE_BELOW or how == "full":
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
