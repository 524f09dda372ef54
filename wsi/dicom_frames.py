"""Where the frames of a DICOM slide lie: in the level, and in the file."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import Truncated, UnsupportedFormat
from .dicom_files import BROKEN_DICOM
from .dicom_header import Header
from .quiet import silent_pydicom
from .tiff_facts import CONVERT

IMPLICIT = "1.2.840.10008.1.2"
PIXEL_DATA = b"\xe0\x7f\x10\x00"
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
UNDEFINED = 0xFFFFFFFF

Span = tuple[int, int]
"""Where it begins and how long it is, in bytes."""


@dataclass(frozen=True)
class Frames:
    """The frames of one instance.

    Attributes:
        path: the file.
        corners: int64 (N, 2), top-left (x, y) in px of the level; may overlap and leave gaps.
        fragments: what each frame is put together from, mostly one span.
    """

    path: Path
    corners: NDArray[np.int64]
    fragments: tuple[tuple[Span, ...], ...]


def find_frames(header: Header) -> Frames:
    """The frames of an instance.

    Raises:
        Truncated: the header or the list of frames is damaged.
        UnsupportedFormat: nothing says where they lie or where each begins.
    """
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with open(header.path, "rb") as file, silent_pydicom():
            groups = dcmread(
                file, stop_before_pixels=True, specific_tags=["PerFrameFunctionalGroupsSequence"]
            )
            fragments = _fragments(file, header)
            positions = groups.get("PerFrameFunctionalGroupsSequence", None) or []
            corners = _grid(header) if header.full else np.array([_corner(p) for p in positions], np.int64)
    except (InvalidDicomError, BytesLengthException, *BROKEN_DICOM):
        raise Truncated("A DICOM slide with a damaged list of frames.", "Copy or export it again.") from None
    if len(corners) != header.frames or (corners < 0).any() or (corners >= header.size).any():
        raise UnsupportedFormat("A DICOM slide that does not say where its frames lie.", CONVERT)
    return Frames(header.path, corners, fragments)


def _grid(header: Header) -> NDArray[np.int64]:
    columns = -(-header.size[0] // header.tile[0])
    rows, across = np.divmod(np.arange(header.first, header.first + header.frames), columns)
    return np.stack([across * header.tile[0], rows * header.tile[1]], axis=1)


def _corner(groups: object) -> tuple[int, int]:
    place = groups.PlanePositionSlideSequence[0]  # type: ignore[attr-defined]
    return (
        int(place.ColumnPositionInTotalImagePixelMatrix) - 1,
        int(place.RowPositionInTotalImagePixelMatrix) - 1,
    )


def _fragments(file: BinaryIO, header: Header) -> tuple[tuple[Span, ...], ...]:
    """What each frame is put together from; the file stands at its pixel data."""
    if file.read(4) != PIXEL_DATA:
        raise ValueError("no pixel data")
    if header.syntax != IMPLICIT:
        file.read(4)
    (length,) = struct.unpack("<I", file.read(4))
    if length != UNDEFINED:
        start, size = file.tell(), header.tile[0] * header.tile[1] * 3
        return tuple(((start + size * i, size),) for i in range(header.frames))
    (at, size), *spans = _items(file)
    if len(spans) == header.frames:
        return tuple((span,) for span in spans)
    file.seek(at)
    table = struct.unpack(f"<{size // 4}I", file.read(size // 4 * 4))
    if len(table) != header.frames:
        raise UnsupportedFormat("A DICOM slide whose frames cannot be told apart.", CONVERT)
    return _by_table(spans, table)


def _items(file: BinaryIO) -> Iterator[Span]:
    """Content of the items: the table of offsets, then the fragments."""
    while (tag := file.read(4)) == ITEM:
        (length,) = struct.unpack("<I", file.read(4))
        yield file.tell(), length
        file.seek(length, 1)
    if tag != END:
        raise ValueError("the items do not end")


def _by_table(spans: list[Span], table: tuple[int, ...]) -> tuple[tuple[Span, ...], ...]:
    """Offsets count from the first fragment's item, which begins 8 bytes before its content."""
    begins = [at - spans[0][0] for at, _ in spans]
    cuts = [bisect_right(begins, offset - 1) for offset in table] + [len(spans)]
    return tuple(tuple(spans[low:high]) for low, high in pairwise(cuts))
