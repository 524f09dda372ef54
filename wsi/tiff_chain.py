"""The chain of a TIFF's directories, followed by hand: where each begins, and how it ends."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FOUR_GIB = 1 << 32


@dataclass(frozen=True)
class Chain:
    """How the directories follow each other.

    Attributes:
        offsets: where they begin in the file, in bytes.
        cut: the next one would begin, or the last one goes on, beyond the end of the file.
        endless: they form a loop, or are more than were asked for.
    """

    offsets: tuple[int, ...]
    cut: bool
    endless: bool


def follow(path: Path, most: int) -> Chain:
    """The main chain of a TIFF or BigTIFF, at most so many directories of it, and none nested in them.

    Files of more than 4 GiB in the classic layout keep their offsets in ways of their own (NDPI), so that
    where theirs lead cannot be judged.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        try:
            return _follow(file, size, most)
        except struct.error:
            return Chain((), cut=True, endless=False)


def _follow(file: BinaryIO, size: int, most: int) -> Chain:
    order = ">" if file.read(2) == b"MM" else "<"
    big = _number(file, order + "H") == 43
    count_as, next_as, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    file.seek(8 if big else 4)
    offsets: list[int] = []
    at = _number(file, order + next_as)
    while at and len(offsets) < most and at not in offsets:
        if at >= size:
            return Chain(tuple(offsets), cut=big or size <= FOUR_GIB, endless=False)
        offsets.append(at)
        file.seek(at)
        file.seek(_number(file, order + count_as) * entry, 1)
        at = _number(file, order + next_as)
    return Chain(tuple(offsets), cut=False, endless=bool(at))


def _number(file: BinaryIO, kind: str) -> int:
    """The number at the file's position; `struct.error` where the file ends before it does."""
    return int(struct.unpack(kind, file.read(struct.calcsize(kind)))[0])
