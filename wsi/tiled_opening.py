"""Slides whose tiles are decoded here: where their tiles are found, and the reader over them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from ..errors import UnsupportedFormat
from .byte_source import ByteFile, ByteSource, FileBytes, JoinedBytes
from .dicom_tiles import read_frames
from .reader import Facts
from .remote_bytes import COPY, RemoteBytes, unreachable
from .tiff_pyramid import read_pyramid
from .tile_table import TileTable, UnusualLayoutError, read_tables
from .tiled_reader import TiledReader


def open_tiled(path: Path, facts: Facts) -> TiledReader:
    """The reader for a TIFF or DICOM slide of which everything but the pixels is known.

    Raises:
        UnusualLayoutError: it is better left to OpenSlide.
    """
    sizes = [level.size for level in facts.levels]
    if facts.format != "dicom":
        tables = read_tables(path, sizes, padded=facts.format == "philips")
        return _over(FileBytes(path), facts, tables)
    frames = read_frames(path, sizes)
    source = JoinedBytes([file for file, _ in frames])
    moved = [table.moved(start) for (_, table), start in zip(frames, source.starts, strict=True)]
    return _over(source, facts, moved)


def open_pyramid(path: Path) -> TiledReader:
    """The reader for a TIFF of which OpenSlide does not see all levels.

    Raises:
        UnusualLayoutError: it is no pyramid of plain tiles.
    """
    facts, tables = read_pyramid(path)
    return _over(FileBytes(path), facts, tables)


def open_remote(url: str) -> TiledReader:
    """The reader for a TIFF behind a URL, of which only those parts are fetched that are wanted.

    Raises:
        MissingExtra, InputNotFound, UnsupportedFormat: see `RemoteBytes`; also where it is no such TIFF.
    """
    source = RemoteBytes(url)
    try:
        if source.read(0, 2) not in (b"II", b"MM"):
            raise UnusualLayoutError("it is no TIFF")
        facts, tables = read_pyramid(io.BufferedReader(ByteFile(source, source.size)))
        return _over(source, facts, tables)
    except (OSError, UnusualLayoutError) as reason:
        if source.silent:  # then directories that could not be read prove nothing
            raise unreachable(url) from None
        raise UnsupportedFormat(f"A file that cannot be read from a URL: {reason}.", COPY) from None


def _over(source: ByteSource, facts: Facts, tables: Sequence[TileTable]) -> TiledReader:
    try:
        return TiledReader(facts, source, tables)
    except BaseException:
        source.close()
        raise
