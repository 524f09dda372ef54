"""The tiles decoded last, within a bound of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
View = tuple[int, int]
"""Level and scale: what has tiles of one shape."""

VIEWS = 2
"""Patches at one spacing need one, an overview another; the third replaces the one used longest ago."""


@dataclass
class Slot:
    """Room for one tile. Written by whoever took it, then read by all, and never while it is held."""

    pixels: Pixels
    holders: int = 0


class TileCache:
    """Least recently used tiles give way first. Safe to share between threads.

    The room for one view is a single array, of which memory is only what was ever used: the system
    hands it out in large pages, and a tile decoded into a place used before costs no page at all.
    Fresh arrays made reading a quarter slower.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._rooms: OrderedDict[View, TileRoom] = OrderedDict()
        self._lock = threading.Lock()

    def room(self, view: View, shape: tuple[int, int], most: int) -> TileRoom:
        """The room for at most so many tiles of (height, width) px of one view, made where there is none."""
        with self._lock:
            if view not in self._rooms:
                while len(self._rooms) >= VIEWS:
                    self._rooms.popitem(last=False)
                fitting = self.max_bytes // VIEWS // (3 * shape[0] * shape[1])
                self._rooms[view] = TileRoom(shape, min(fitting, most))
            self._rooms.move_to_end(view)
            return self._rooms[view]

    @property
    def room_bytes(self) -> int:
        """Memory that the rooms may take."""
        with self._lock:
            return sum(room.max_bytes for room in self._rooms.values())

    def clear(self) -> None:
        """Give up all rooms; memory goes when their last tile is no longer held."""
        with self._lock:
            self._rooms.clear()


class TileRoom:
    """Tiles of one shape."""

    def __init__(self, shape: tuple[int, int], count: int) -> None:
        self._pixels = np.empty((count, *shape, 3), np.uint8)
        self._fresh = iter(self._pixels)
        self._free: list[Slot] = []
        self._tiles: OrderedDict[int, Slot] = OrderedDict()
        self._busy: set[int] = set()
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)

    @property
    def max_bytes(self) -> int:
        """Memory it may take."""
        return self._pixels.nbytes

    def hold(self, tile: int) -> Slot | None:
        """The tile if it is there, to be released after use."""
        with self._lock:
            slot = self._tiles.get(tile)
            if slot is not None:
                self._tiles.move_to_end(tile)
                slot.holders += 1
            return slot

    def release(self, slot: Slot) -> None:
        """The tile may give way again."""
        with self._lock:
            slot.holders -= 1

    def claim(self, tiles: Iterable[int], most: int) -> list[int]:
        """The first that nobody has decoded or is decoding: the caller's, until it has settled them."""
        with self._lock:
            claimable = (tile for tile in tiles if tile not in self._busy and tile not in self._tiles)
            claimed = list(islice(claimable, most))
            self._busy.update(claimed)
            return claimed

    def settle(self, claimed: Iterable[int]) -> None:
        """What was claimed is there now, or could not be decoded."""
        with self._lock:
            self._busy.difference_update(claimed)
            self._settled.notify_all()

    def wait(self, tiles: Iterable[int]) -> None:
        """Until others have settled them all. Whoever waits must have settled its own first."""
        awaited = set(tiles)
        with self._lock:
            self._settled.wait_for(lambda: not awaited & self._busy)

    def take(self) -> Slot:
        """A place to decode into, to be given back by `keep` or `drop`; outside the room if that is full."""
        with self._lock:
            if self._free:
                return self._free.pop()
            if (pixels := next(self._fresh, None)) is not None:
                return Slot(pixels)
            for tile, slot in self._tiles.items():
                if not slot.holders:
                    del self._tiles[tile]
                    return slot
        return Slot(np.empty(self._pixels.shape[1:], np.uint8), holders=-1)

    def keep(self, tile: int, slot: Slot) -> None:
        """Let others find what was decoded; of two threads that decoded the same tile the first wins."""
        with self._lock:
            if slot.holders == 0 and tile not in self._tiles:
                self._tiles[tile] = slot
                return
        self.drop(slot)

    def drop(self, slot: Slot) -> None:
        """Give back a place whose content is of no use."""
        with self._lock:
            if slot.holders == 0:
                self._free.append(slot)
