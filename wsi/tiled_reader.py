"""Tiled TIFFs decoded here: each tile once, straight to where its pixels are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadFailed
from .byte_source import ByteSource, FileBytes, read_spans
from .reader import Facts, LevelBox, Rgba, clip
from .resample import average
from .tile_cache import Key, TileCache
from .tile_codecs import SCALES, Codec, JpegCodec, Tile, codec_for
from .tile_table import TileTable, UnusualLayoutError, read_tables

CACHE_BYTES = 64 << 20
"""Two rows of 256 px tiles of a slide 43,000 px wide at full scale, 87,000 px at half: a row of patches
finds the tiles that it shares with the row above."""

MAX_RATIO = 4
"""No tile packs to more than this many times its pixels; a longer one is a damaged entry."""

Part = tuple[slice, slice]


@dataclass(frozen=True)
class Piece:
    """What one tile gives to a box: rows and columns of the tile, and where in the box they go."""

    tile: int
    source: Part
    target: Part


@dataclass
class Request:
    """A box to fill.

    Attributes:
        box: what of the slide.
        canvas: uint8 (height, width, 3) of any layout, written in place.
        failed: set where a tile of it cannot be decoded; the canvas is then of no use.
    """

    box: LevelBox
    canvas: NDArray[np.uint8]
    failed: bool = False


@dataclass(frozen=True)
class _Want:
    request: Request
    piece: Piece


class TiledReader:
    """A `Reader` over the tiles themselves. Threads share the tiles decoded last."""

    def __init__(self, facts: Facts, source: ByteSource, tables: Sequence[TileTable]) -> None:
        """Looks at a few tiles of each level.

        Raises:
            UnusualLayoutError: they are not what the directories say.
        """
        self._source = source
        self._tables = tuple(tables)
        self._codecs = tuple(codec_for(table) for table in tables)
        self._cache = TileCache(CACHE_BYTES)
        scales = [_scales(source, *pair) for pair in zip(self._tables, self._codecs, strict=True)]
        self._facts = replace(facts, scales=tuple(scales))

    @property
    def facts(self) -> Facts:
        return self._facts

    def start(self, box: LevelBox) -> tuple[float, float]:
        return float(box.x), float(box.y)

    def read(self, box: LevelBox) -> Rgba:
        canvas = np.zeros((box.height, box.width, 4), np.uint8)
        request = Request(box, canvas[..., :3])
        self.fill([request])
        if request.failed:
            where = f"{box.width} x {box.height} px at ({box.x}, {box.y})"
            reduced = f" at 1/{box.scale}" if box.scale > 1 else ""
            raise ReadFailed(f"Level {box.level}{reduced}, {where} cannot be decoded.")
        for piece in self.scanned(box):
            canvas[..., 3][piece.target] = 255
        return canvas

    def scanned(self, box: LevelBox) -> list[Piece]:
        """The pieces of a box that the scanner took, whether or not they can be decoded."""
        counts = self._tables[box.level].counts
        return [piece for piece in self._pieces(box) if counts[piece.tile] > 0]

    def fill(self, requests: Sequence[Request]) -> None:
        """Fill every canvas, white where nothing was scanned. Each tile is read and decoded once."""
        wanted: dict[Key, list[_Want]] = {}
        for request in requests:
            box = request.box
            pieces = self.scanned(box)
            if sum(_area(piece.target) for piece in pieces) < box.width * box.height:
                request.canvas[:] = 255
            for piece in pieces:
                wanted.setdefault((box.level, box.scale, piece.tile), []).append(_Want(request, piece))
        missing = []
        for key, wants in wanted.items():
            tile = self._cache.get(key)
            if tile is None:
                missing.append(key)
            else:
                _scatter(tile, wants)
        for key, tile in self._decode(missing):
            _scatter(tile, wanted[key])

    def close(self) -> None:
        self._source.close()
        self._cache.clear()

    def _decode(self, keys: Sequence[Key]) -> Iterator[tuple[Key, Tile | None]]:
        """The tiles in file order, None for one that cannot be decoded."""
        spans = [self._span(level, tile) for level, _, tile in keys]
        for number, data in read_spans(self._source, spans):
            key = keys[number]
            try:
                tile = None if data is None else self._tile(key, data)
            except ReadFailed:
                tile = None
            if tile is not None:
                self._cache.put(key, tile)
            yield key, tile

    def _tile(self, key: Key, data: bytes) -> Tile:
        """Reduced together with its padding, a tile at the far border would take on the padding's colour."""
        level, scale, number = key
        table, codec = self._tables[level], self._codecs[level]
        row, column = divmod(number, table.columns)
        width = min(table.size[0] - column * table.tile[0], table.tile[0])
        height = min(table.size[1] - row * table.tile[1], table.tile[1])
        if scale == 1 or (width, height) == table.tile:
            return codec.decode(data, scale)
        return average(codec.decode(data, 1)[:height, :width], (scale, scale))

    def _span(self, level: int, tile: int) -> tuple[int, int]:
        table = self._tables[level]
        count = int(table.counts[tile])
        longest = MAX_RATIO * 3 * table.tile[0] * table.tile[1]
        return int(table.offsets[tile]), count if count <= longest else 0

    def _pieces(self, box: LevelBox) -> Iterator[Piece]:
        """Row by row, all tiles that the box touches inside the level."""
        table = self._tables[box.level]
        left, top, right, bottom = clip(box, self._facts.view(box.level, box.scale).size)
        across = _spans((left, right), table.tile[0] // box.scale, box.x)
        down = _spans((top, bottom), table.tile[1] // box.scale, box.y)
        for row, source_rows, target_rows in down:
            for column, source_columns, target_columns in across:
                tile = row * table.columns + column
                yield Piece(tile, (source_rows, source_columns), (target_rows, target_columns))


def open_tiled(path: Path, facts: Facts) -> TiledReader:
    """The reader for a TIFF of which everything but the pixels is known.

    Raises:
        UnusualLayoutError: it is better left to OpenSlide.
    """
    tables = read_tables(path, [level.size for level in facts.levels])
    source = FileBytes(path)
    try:
        return TiledReader(facts, source, tables)
    except BaseException:
        source.close()
        raise


def _scales(source: ByteSource, table: TileTable, codec: Codec) -> tuple[int, ...]:
    """By how much tiles of a level can be reduced while they are decoded, judged by one that is intact."""
    if not isinstance(codec, JpegCodec):
        return (1,)
    present = np.flatnonzero(table.counts > 0)
    for tile in present[[0, len(present) // 2, -1]] if len(present) else ():
        count = min(int(table.counts[tile]), MAX_RATIO * 3 * table.tile[0] * table.tile[1])
        subsampling = codec.subsampling(source.read(int(table.offsets[tile]), count))
        if subsampling:
            return SCALES.get(subsampling, (1,))
    raise UnusualLayoutError("tiles that are no JPEGs of the size and colours stated")


def _spans(ends: tuple[int, int], tile: int, origin: int) -> list[tuple[int, slice, slice]]:
    """Along one axis: number of the tile, px of the tile, px of a box that begins at `origin`."""
    low, high = ends
    found = []
    for number in range(low // tile, -(-high // tile) if high > low else low // tile):
        start = number * tile
        first, last = max(low, start), min(high, start + tile)
        found.append((number, slice(first - start, last - start), slice(first - origin, last - origin)))
    return found


def _area(part: Part) -> int:
    rows, columns = part
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _scatter(tile: Tile | None, wants: Sequence[_Want]) -> None:
    for want in wants:
        if tile is None:
            want.request.failed = True
        else:
            want.request.canvas[want.piece.target] = tile[want.piece.source]
