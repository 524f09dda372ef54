"""An array that grows by rows: chunk files are appended to, so what is written survives a kill."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from . import disk
from .layout import CRC_BYTES, ArrayLayout


def rows_on_disk(folder: Path, layout: ArrayLayout) -> int:
    """How many whole rows the chunk files of an unfinished array hold, counted from the first."""
    rows = 0
    for key in layout.chunk_keys:
        path = folder / key
        found = min(path.stat().st_size // layout.row_bytes, layout.chunks[0]) if path.is_file() else 0
        rows += found
        if found < layout.chunks[0]:
            break
    return min(rows, layout.shape[0])


class RowFile:
    """Writes the chunks of one array in order, keeping the checksums as it goes.

    Args:
        folder: of the array, below the store.
        layout: its final shape and chunks.
        rows: how many rows on disk to keep and go on after; what follows them is dropped.
    """

    def __init__(self, folder: Path, layout: ArrayLayout, rows: int = 0) -> None:
        self._folder = folder
        self._layout = layout
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._crc = 0
        self.rows = 0
        self._take_over(rows)

    def append(self, values: NDArray[Any]) -> None:
        """The next rows."""
        values = np.ascontiguousarray(values, self._layout.dtype)
        while len(values):
            part = values[: self._layout.chunks[0] - self.rows % self._layout.chunks[0]]
            self._write(part.tobytes(), counts=True)
            self.rows += len(part)
            values = values[len(part) :]
            if self.rows % self._layout.chunks[0] == 0:
                self._end_chunk()

    def sync(self) -> None:
        """Wait until every row so far is on the disk."""
        if self._file is not None:
            disk.sync(self._file)

    def finish(self) -> str:
        """Complete the last chunk, as Zarr wants it, with fill values; returns the hex sha256 of all rows."""
        left = -self.rows % self._layout.chunks[0] if self.rows else 0
        if left:
            fill = np.full((left, *self._layout.shape[1:]), self._layout.fill_value, self._layout.dtype)
            self._write(fill.tobytes(), counts=False)
            self._end_chunk()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Make what was written durable, and let go of the file."""
        if self._file is not None:
            disk.sync(self._file)
            self._file.close()
            self._file = None

    def _write(self, data: bytes, counts: bool) -> None:
        if self._file is None:
            path = self._chunk_path(self.rows)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab")  # noqa: SIM115 - closed when the chunk ends
        disk.write_all(self._file, data)
        self._crc = google_crc32c.extend(self._crc, data)
        if counts:
            self._digest.update(data)

    def _end_chunk(self) -> None:
        if self._file is not None:
            disk.write_all(self._file, self._crc.to_bytes(CRC_BYTES, "little"))
        self.close()
        self._crc = 0

    def _chunk_path(self, row: int) -> Path:
        return self._folder / self._layout.chunk_keys[row // self._layout.chunks[0]]

    def _take_over(self, rows: int) -> None:
        """Cut the files back to `rows` rows, and take their checksums."""
        size = self._layout.chunks[0]
        for number, key in enumerate(self._layout.chunk_keys):
            path, kept = self._folder / key, min(max(rows - number * size, 0), size)
            if not kept:
                path.unlink(missing_ok=True)
                continue
            with open(path, "r+b") as file:
                file.truncate(kept * self._layout.row_bytes)
            data = path.read_bytes()
            self._digest.update(data)
            self._crc = google_crc32c.value(data)
            self.rows += kept
            if kept == size:
                self._file = open(path, "ab")  # noqa: SIM115 - closed when the chunk ends
                self._end_chunk()
