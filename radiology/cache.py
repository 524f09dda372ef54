"""The slices read last, shared by all reading threads, each decoded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from .stack import Plane

CACHE_BYTES = 64 << 20
LEAST_SLICES = 8


class SliceCache:
    """At most 64 MiB of slices (8 at least); the least recently used are forgotten first.

    Threads that want one slice at one time wait for one decode; different slices are decoded in
    parallel. A slice that fails is not kept: the next reader tries again.
    """

    def __init__(self, decode: Callable[[int], Plane], slice_bytes: int) -> None:
        self._decode = decode
        self._capacity = max(LEAST_SLICES, CACHE_BYTES // slice_bytes)
        self._slots: OrderedDict[int, _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, z: int) -> Plane:
        """Slice `z`, decoded now or before; raises what the decoder raises."""
        slot = self._slot(z)
        with slot.lock:
            if slot.plane is None:
                slot.plane = self._decode(z)
            return slot.plane

    def clear(self) -> None:
        """Forget every slice."""
        with self._lock:
            self._slots.clear()

    def _slot(self, z: int) -> _Slot:
        with self._lock:
            slot = self._slots.setdefault(z, _Slot())
            self._slots.move_to_end(z)
            if len(self._slots) > self._capacity:
                self._slots.popitem(last=False)
            return slot


class _Slot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.plane: Plane | None = None
