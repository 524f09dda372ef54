"""DICOM slides that OpenSlide refuses: frames wherever they lie, each decoded here."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadFailed
from .byte_source import FileBytes
from .dicom_codecs import decode_frame
from .dicom_frames import Frames, find_frames
from .dicom_header import Header
from .levels import make_levels
from .reader import Facts, LevelBox, Rgba, clip

CACHE_BYTES = 64 << 20

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class _Part:
    """One file of a level."""

    header: Header
    frames: Frames
    source: FileBytes

    def touching(self, box: tuple[int, int, int, int]) -> list[int]:
        """Numbers of the frames that reach into a box (left, top, right, bottom) of the level."""
        left, top, right, bottom = box
        x, y = self.frames.corners.T
        width, height = self.header.tile
        inside = (x < right) & (x + width > left) & (y < bottom) & (y + height > top)
        return [int(number) for number in np.flatnonzero(inside)]

    def decode(self, number: int) -> Frame:
        """uint8 (height, width, 3) without what hangs over the far borders of the level.

        Raises:
            ReadFailed: it is damaged, or the file ends before it.
        """
        spans, (x, y) = self.frames.fragments[number], self.frames.corners[number]
        try:
            data = b"".join(self.source.read(*span) for span in spans)
        except OSError:
            raise ReadFailed("A frame that cannot be read.") from None
        width, height = self.header.size
        return decode_frame(data, self.header)[: height - y, : width - x]


class DicomReader:
    """A `Reader` over the frames themselves. Where they overlap, the later one is seen."""

    def __init__(self, levels: Sequence[Sequence[Header]], derived: bool = False) -> None:
        """Reads where the frames are.

        Args:
            levels: the parts of each level, finest level first.
            derived: see `Facts`.

        Raises:
            Truncated, UnsupportedFormat: see `find_frames`.
        """
        self._levels = [
            [_Part(header, find_frames(header), FileBytes(header.path)) for header in parts]
            for parts in levels
        ]
        sizes = [parts[0].size for parts in levels]
        first = levels[0][0]
        self._facts = Facts("dicom", make_levels(sizes), first.mpp, derived=derived, icc=first.icc)
        self._cache: OrderedDict[tuple[int, int, int], Frame] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def facts(self) -> Facts:
        return self._facts

    def read(self, box: LevelBox) -> Rgba:
        if self._closed:
            raise ReadFailed("The slide was closed.")
        canvas = np.zeros((box.height, box.width, 4), np.uint8)
        edges = clip(box, self._facts.levels[box.level].size)
        for place, part in enumerate(self._levels[box.level]):
            for number in part.touching(edges):
                try:
                    frame = self._frame((box.level, place, number))
                except ReadFailed:
                    where = f"{box.width} x {box.height} px at ({box.x}, {box.y})"
                    raise ReadFailed(f"Level {box.level}, {where} cannot be decoded.") from None
                _lay(frame, part.frames.corners[number], canvas, box)
        return canvas

    def start(self, box: LevelBox) -> tuple[float, float]:
        return float(box.x), float(box.y)

    def close(self) -> None:
        self._closed = True
        for parts in self._levels:
            for part in parts:
                part.source.close()
        with self._lock:
            self._cache.clear()

    def _frame(self, key: tuple[int, int, int]) -> Frame:
        """The frames used last are kept: neighbouring patches share them."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        level, place, number = key
        frame = self._levels[level][place].decode(number)
        with self._lock:
            self._cache[key] = frame
            while len(self._cache) > max(CACHE_BYTES // frame.nbytes, 1):
                self._cache.popitem(last=False)
        return frame


def _lay(frame: Frame, corner: NDArray[np.int64], canvas: Rgba, box: LevelBox) -> None:
    """Copy the part of a frame that lies within the box."""
    x, y = (int(value) for value in corner)
    height, width = frame.shape[:2]
    left, top = max(x, box.x), max(y, box.y)
    right, bottom = min(x + width, box.x + box.width), min(y + height, box.y + box.height)
    target = canvas[top - box.y : bottom - box.y, left - box.x : right - box.x]
    target[..., :3] = frame[top - y : bottom - y, left - x : right - x]
    target[..., 3] = 255
