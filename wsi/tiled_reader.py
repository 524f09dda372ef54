"""Tiled TIFFs decoded here: each tile once, straight to where its pixels are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..errors import ReadFailed
from .byte_source import ByteSource, read_spans
from .reader import Facts, LevelBox, Rgba, clip
from .resample import average
from .tile_cache import TileCache, TileRoom
from .tile_codecs import Codec, Packed, Tile, codec_for
from .tile_table import TileTable, UnusualLayoutError

CACHE_BYTES = 128 << 20
"""Half of it for patches: two rows of 256 px tiles of tissue 43,000 px wide at full scale, 87,000 px at
half, so that a row of patches finds the tiles that it shares with the row above."""

MAX_RATIO = 4
"""No tile packs to more than this many times its pixels; a longer one is a damaged entry."""

SHARE = 12
"""Tiles that a thread takes on at a time: others who want the same tiles decode the rest meanwhile."""

Part = tuple[slice, slice]


class Piece(NamedTuple):
    """What one tile gives to a box: its number, rows and columns of it, and where in the box they go."""

    tile: int
    source: Part
    target: Part


@dataclass(eq=False, slots=True)
class Request:
    """A box to fill.

    Attributes:
        box: what of the slide.
        pieces: where its pixels come from; `TiledReader.scanned` finds them.
        canvas: uint8 (height, width, 3) of any layout, written in place.
        failed: set where a tile of it cannot be decoded; the canvas is then of no use.
    """

    box: LevelBox
    pieces: list[Piece]
    canvas: Tile
    failed: bool = False


Wants = list[tuple[Request, Piece]]


class TiledReader:
    """A `Reader` over the tiles themselves. Threads share the tiles decoded last."""

    def __init__(self, facts: Facts, source: ByteSource, tables: Sequence[TileTable]) -> None:
        """Looks at a few tiles of each level.

        Raises:
            UnusualLayoutError: they are not what the directories say.
        """
        self._source = source
        self._tables = tuple(tables)
        self._present = tuple((table.counts > 0).tobytes() for table in tables)
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
        request = Request(box, self.scanned(box), canvas[..., :3])
        self.fill([request])
        if request.failed:
            where = f"{box.width} x {box.height} px at ({box.x}, {box.y})"
            reduced = f" at 1/{box.scale}" if box.scale > 1 else ""
            raise ReadFailed(f"Level {box.level}{reduced}, {where} cannot be decoded.")
        for piece in request.pieces:
            canvas[..., 3][piece.target] = 255
        return canvas

    def scanned(self, box: LevelBox) -> list[Piece]:
        """The pieces of a box that the scanner took, row by row, whether or not they can be decoded."""
        table, present = self._tables[box.level], self._present[box.level]
        left, top, right, bottom = clip(box, self._facts.view(box.level, box.scale).size)
        across = _spans(left, right, table.tile[0] // box.scale, box.x)
        down = _spans(top, bottom, table.tile[1] // box.scale, box.y)
        return [
            Piece(row * table.columns + column, (from_y, from_x), (to_y, to_x))
            for row, from_y, to_y in down
            for column, from_x, to_x in across
            if present[row * table.columns + column]
        ]

    def fill(self, requests: Sequence[Request]) -> None:
        """Fill every canvas, white where nothing was scanned. Each tile is read and decoded once."""
        wanted: dict[tuple[int, int], dict[int, Wants]] = {}
        for request in requests:
            tiles = wanted.setdefault((request.box.level, request.box.scale), {})
            for piece in request.pieces:
                tiles.setdefault(piece.tile, []).append((request, piece))
            if sum(_area(piece.target) for piece in request.pieces) < request.box.width * request.box.height:
                request.canvas[:] = 255
        for (level, scale), left in wanted.items():
            table = self._tables[level]
            shape = (table.tile[1] // scale, table.tile[0] // scale)
            room = self._cache.room((level, scale), shape, len(table.counts))
            while left:
                left = self._serve((level, scale), left, room)  # noqa: PLW2901

    def close(self) -> None:
        self._source.close()
        self._cache.clear()

    def _serve(self, view: tuple[int, int], wanted: dict[int, Wants], room: TileRoom) -> dict[int, Wants]:
        """What is left when other threads, whose tiles are not decoded twice, are done with theirs."""
        left = {tile: wants for tile, wants in wanted.items() if not _from(room, tile, wants)}
        while mine := room.claim(sorted(left), SHARE):
            try:
                self._decode(view, {tile: left.pop(tile) for tile in mine}, room)
            finally:
                room.settle(mine)
        room.wait(left)
        return left

    def _decode(self, view: tuple[int, int], wanted: dict[int, Wants], room: TileRoom) -> None:
        """Tile by tile in file order, to all who want it."""
        tiles = list(wanted)
        for number, data in read_spans(self._source, [self._span(view[0], tile) for tile in tiles]):
            tile, slot = tiles[number], room.take()
            try:
                if data is None:
                    raise ReadFailed("A tile beyond the end of the file.")
                self._unpack(view, tile, data, slot.pixels)
            except ReadFailed:
                room.drop(slot)
                for request, _ in wanted[tile]:
                    request.failed = True
            else:
                _scatter(slot.pixels, wanted[tile])
                room.keep(tile, slot)

    def _unpack(self, view: tuple[int, int], tile: int, data: Packed, out: Tile) -> None:
        """Reduced together with its padding, a tile at the far border would take on the padding's colour."""
        (level, scale), codec = view, self._codecs[view[0]]
        table = self._tables[level]
        row, column = divmod(tile, table.columns)
        width = min(table.size[0] - column * table.tile[0], table.tile[0])
        height = min(table.size[1] - row * table.tile[1], table.tile[1])
        if scale == 1 or (width, height) == table.tile:
            codec.decode(data, scale, out)
            return
        whole = np.empty((table.tile[1], table.tile[0], 3), np.uint8)
        codec.decode(data, 1, whole)
        reduced = average(whole[:height, :width], (scale, scale))
        out[: reduced.shape[0], : reduced.shape[1]] = reduced

    def _span(self, level: int, tile: int) -> tuple[int, int]:
        table = self._tables[level]
        count = int(table.counts[tile])
        longest = MAX_RATIO * 3 * table.tile[0] * table.tile[1]
        return int(table.offsets[tile]), count if count <= longest else 0


def _scales(source: ByteSource, table: TileTable, codec: Codec) -> tuple[int, ...]:
    """By how much tiles of a level can be reduced while they are decoded, judged by one that is intact."""
    present = np.flatnonzero(table.counts > 0)
    for tile in present[[0, len(present) // 2, -1]] if len(present) else ():
        count = min(int(table.counts[tile]), MAX_RATIO * 3 * table.tile[0] * table.tile[1])
        if scales := codec.scales(source.read(int(table.offsets[tile]), count)):
            return scales
    raise UnusualLayoutError("tiles that are not of the size and colours stated, or subsampled JPEG 2000")


@lru_cache(maxsize=4096)
def _spans(low: int, high: int, tile: int, origin: int) -> tuple[tuple[int, slice, slice], ...]:
    """Along one axis: number of the tile, px of the tile, px of a box that begins at `origin`.

    The patches of a grid share their rows and columns, so most are asked for again.
    """
    found = []
    for number in range(low // tile, -(-high // tile) if high > low else low // tile):
        start = number * tile
        first, last = max(low, start), min(high, start + tile)
        found.append((number, slice(first - start, last - start), slice(first - origin, last - origin)))
    return tuple(found)


def _area(part: Part) -> int:
    rows, columns = part
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _from(room: TileRoom, tile: int, wants: Wants) -> bool:
    """Whether a tile was there, and has been given to all who want it."""
    slot = room.hold(tile)
    if slot is None:
        return False
    _scatter(slot.pixels, wants)
    room.release(slot)
    return True


def _scatter(tile: Tile, wants: Wants) -> None:
    for request, piece in wants:
        request.canvas[piece.target] = tile[piece.source]
