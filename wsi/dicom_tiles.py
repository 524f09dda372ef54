"""Where the DICOM instances of a slide keep their frames: read once, then the same table as for a TIFF."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .dicom_files import BROKEN_DICOM, instances_in, read_instance
from .quiet import silent_pydicom
from .tiff_facts import RGB, YCBCR
from .tile_table import JPEG, JPEG2000, NONE, TileTable, UnusualLayoutError, check

EXPLICIT, JPEG_BASELINE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
DECODED = {
    EXPLICIT: (NONE, {"RGB": RGB}),
    JPEG_BASELINE: (JPEG, {"RGB": RGB, "YBR_FULL_422": YCBCR, "YBR_FULL": YCBCR}),
    JPEG_2000_LOSSLESS: (JPEG2000, {"RGB": RGB, "YBR_RCT": RGB}),
    JPEG_2000: (JPEG2000, {"RGB": RGB, "YBR_RCT": RGB, "YBR_ICT": RGB}),
}
"""Transfer syntaxes: how a TIFF numbers the compression, and the colours that leave its decoder."""

ITEM, PIXELS, OPEN_END = b"\xfe\xff\x00\xe0", b"\xe0\x7f\x10\x00", 0xFFFFFFFF
HEADER = 8
"""Bytes of an item's tag and length, which stand before every encapsulated frame."""

SIZES = ("TotalPixelMatrixColumns", "TotalPixelMatrixRows", "Columns", "Rows", "NumberOfFrames")
PLAIN = {
    "DimensionOrganizationType": ("TILED_FULL",),
    "SamplesPerPixel": (3,),
    "BitsAllocated": (8,),
    "BitsStored": (8,),
    "PixelRepresentation": (0,),
    "PlanarConfiguration": (0,),
    "TotalPixelMatrixFocalPlanes": (1, None),
    "NumberOfOpticalPaths": (1, None),
    "ConcatenationUID": (None,),
}
"""Elements whose other values make frames something else than one grid of interleaved 8-bit colours."""

OFFSETS, LENGTHS = "ExtendedOffsetTable", "ExtendedOffsetTableLengths"

Spans = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where each frame begins, and how long it is, in bytes; with the header of its item if it is in one."""


@dataclass(frozen=True)
class _Volume:
    """One instance of the pyramid: its header, and where its pixels begin."""

    path: Path
    header: Any
    pixels_at: int

    @property
    def size(self) -> tuple[int, int]:
        return int(self.header.TotalPixelMatrixColumns), int(self.header.TotalPixelMatrixRows)


def read_frames(path: Path, sizes: Sequence[tuple[int, int]]) -> list[tuple[Path, TileTable]]:
    """File and table of each level, by their sizes in px, of the slide that one of its instances belongs to.

    Raises:
        UnusualLayoutError: a level is not exactly one instance, filled with plain frames row by row.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    this = read_instance(path)
    if this is None or not this.series:
        raise UnusualLayoutError("a header without a series")
    members = [other for other in instances_in(path.parent) if other.series == this.series and other.volume]
    try:
        volumes = [_volume(member.path) for member in members]
        return [_only(volumes, size) for size in sizes]
    except (BytesLengthException, InvalidDicomError, *BROKEN_DICOM):
        raise UnusualLayoutError("its frames cannot be indexed") from None


def _volume(path: Path) -> _Volume:
    from pydicom import dcmread

    names = [*SIZES, *PLAIN, "PhotometricInterpretation", OFFSETS, LENGTHS]
    with silent_pydicom(), open(path, "rb") as file:
        header = dcmread(file, stop_before_pixels=True, specific_tags=names)
        return _Volume(path, header, file.tell())


def _only(volumes: Sequence[_Volume], size: tuple[int, int]) -> tuple[Path, TileTable]:
    found = [volume for volume in volumes if volume.size == size]
    if len(found) != 1:
        raise UnusualLayoutError(f"{len(found)} instances have the size of one level")
    return found[0].path, _table(found[0])


def _table(volume: _Volume) -> TileTable:
    header = volume.header
    compression, colours = DECODED.get(str(header.file_meta.TransferSyntaxUID), (0, {}))
    colour = colours.get(header.get("PhotometricInterpretation"))
    odd = [name for name, values in PLAIN.items() if header.get(name) not in values]
    if odd or colour is None:
        what = odd[0] if odd else "transfer syntax or colour"
        raise UnusualLayoutError(f"another {what} than is decoded here")
    with open(volume.path, "rb") as file:
        offsets, counts = _frames(file, volume, plain=compression == NONE)
    if len(offsets) != int(header.NumberOfFrames):
        raise UnusualLayoutError("another number of items than of frames")
    table = TileTable(
        size=volume.size,
        tile=(int(header.Columns), int(header.Rows)),
        offsets=offsets,
        counts=counts,
        compression=compression,
        photometric=colour,
        predictor=1,
        tables=b"",
        in_items=compression != NONE,
    )
    check(table)
    return table


def _frames(file: BinaryIO, volume: _Volume, plain: bool) -> Spans:
    header, number = volume.header, int(volume.header.NumberOfFrames)
    file.seek(volume.pixels_at)
    element = file.read(12)
    in_items = int.from_bytes(element[8:], "little") == OPEN_END
    if element[:4] != PIXELS or in_items == plain:
        raise UnusualLayoutError("pixels that are not where they should be")
    if in_items:
        return _items(file, header, number)
    each = 3 * int(header.Columns) * int(header.Rows)
    return file.tell() + each * np.arange(number), np.full(number, each)


def _items(file: BinaryIO, header: Any, number: int) -> Spans:
    """From a table of offsets if there is a sound one, else by stepping from item to item."""
    tag, length = _item(file)
    if tag != ITEM:
        raise UnusualLayoutError("pixels without a table of offsets, be it empty")
    offsets = np.frombuffer(file.read(length), "<u4").astype(np.int64)
    first = file.tell()
    if header.get(OFFSETS):
        begins, lengths = (np.frombuffer(header[name].value, "<u8") for name in (OFFSETS, LENGTHS))
        return first + begins.astype(np.int64), lengths.astype(np.int64) + HEADER
    if len(offsets) != number or (np.diff(offsets) <= 0).any():
        return _stepping(file, first, number)
    begins, counts = _stepping(file, first + int(offsets[-1]), 1)
    if len(begins) != 1:
        raise UnusualLayoutError("a frame cut into several items")
    return first + offsets, np.append(np.diff(offsets), counts)


def _stepping(file: BinaryIO, at: int, number: int) -> Spans:
    """Item by item; one more than wanted is found where a frame was cut into several."""
    begins, counts = [], []
    for _ in range(number + 1):
        file.seek(at)
        tag, length = _item(file)
        if tag != ITEM:
            break
        begins.append(at)
        counts.append(HEADER + length)
        at += HEADER + length
    return np.array(begins, np.int64), np.array(counts, np.int64)


def _item(file: BinaryIO) -> tuple[bytes, int]:
    tag, length = struct.unpack("<4sI", file.read(HEADER))
    return tag, length
