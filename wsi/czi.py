"""What a Zeiss CZI holds, from its directory of subblocks: OpenSlide's refusal does not say.

After the ZISRAW (CZI) file format, version 1.2.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CZI_MAGIC = b"ZISRAWFILE"
DIRECTORY_AT = 84
"""Where the header says where the directory is."""

PIXELS = {
    0: "8-bit grey",
    1: "16-bit grey",
    2: "32-bit floating-point grey",
    4: "16-bit colour",
    8: "floating-point colour",
    10: "complex",
    11: "complex",
    12: "32-bit grey",
    13: "64-bit floating-point grey",
}
"""Pixel types other than those of bright-field slides, which are 8-bit BGR (3) and BGRA (9)."""

AXES = {"C": "channels", "Z": "focal planes", "T": "points in time"}
MOST_ENTRIES = 1 << 20


@dataclass(frozen=True)
class _Entry:
    """A subblock: its pixel type, and first position and extent along each axis."""

    pixels: int
    axes: dict[str, tuple[int, int]]


def czi_problem(path: Path) -> str | None:
    """Why this CZI is no bright-field slide, as "a CZI with ..."; None if it may be one or cannot be told."""
    kinds: set[str] = set()
    ends = dict.fromkeys(AXES, 1)
    try:
        with open(path, "rb") as file:
            content = _directory(file, path.stat().st_size)
        for entry in _entries(content):
            kinds |= {PIXELS[entry.pixels]} if entry.pixels in PIXELS else set()
            for axis in ends:
                start, extent = entry.axes.get(axis, (0, 1))
                ends[axis] = max(ends[axis], start + extent)
    except (OSError, struct.error):
        return None
    several = [f"{ends[axis]} {words}" for axis, words in AXES.items() if ends[axis] > 1]
    found = several + [f"{kind} pixels" for kind in sorted(kinds)]
    return f"a CZI with {' and '.join(found)}" if found else None


def _directory(file: BinaryIO, size: int) -> bytes:
    """The content of the directory segment, empty if it is not where the header says."""
    file.seek(DIRECTORY_AT)
    (at,) = struct.unpack("<q", file.read(8))
    file.seek(max(at, 0))
    name, _, used = struct.unpack("<16sqq", file.read(32))
    return file.read(min(max(used, 0), size)) if name.startswith(b"ZISRAWDIRECTORY") else b""


def _entries(content: bytes) -> Iterator[_Entry]:
    if not content:
        return
    (count,) = struct.unpack_from("<i", content)
    at = 128
    for _ in range(min(count, MOST_ENTRIES)):
        schema, pixels, dimensions = struct.unpack_from("<2si22xi", content, at)
        if schema != b"DV":
            return
        yield _Entry(pixels, dict(_axis(content, at + 32 + 20 * i) for i in range(min(dimensions, 16))))
        at += 32 + 20 * dimensions


def _axis(content: bytes, at: int) -> tuple[str, tuple[int, int]]:
    name, start, extent = struct.unpack_from("<4sii", content, at)
    return name.rstrip(b"\0").decode("ascii", "replace"), (start, extent)
