"""An array that grows by rows: its chunk is appended to, so what is written survives a kill."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from . import disk
from .layout import CRC_BYTES, ArrayLayout


def row_checks(rows: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The crc32c of each row's bytes (N,), of rows (N, D)."""
    raw = np.ascontiguousarray(rows).view(np.uint8)
    return np.array([google_crc32c.value(row) for row in raw], np.uint32)


def rows_on_disk(folder: Path, layout: ArrayLayout) -> int:
    """How many whole rows the chunk of an unfinished array holds."""
    path = folder / layout.chunk_key
    return min(path.stat().st_size // layout.row_bytes, layout.shape[0]) if path.is_file() else 0


class RowFile:
    """Writes the chunk of one array, keeping its checksums as it goes.

    Args:
        folder: of the array, below the store.
        layout: its final shape.
        rows: how many rows on disk to keep and go on after; what follows them is dropped.
    """

    def __init__(self, folder: Path, layout: ArrayLayout, rows: int = 0) -> None:
        self._path = folder / layout.chunk_key
        self._layout = layout
        self._digest = hashlib.sha256()
        self._crc = 0
        self._file: BinaryIO | None = None
        self.rows = rows
        self._take_over()

    def append(self, values: NDArray[Any]) -> None:
        """The next rows."""
        data = np.ascontiguousarray(values, self._layout.dtype).tobytes()
        if not data:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "ab")  # noqa: SIM115 - closed by `close`
        disk.write_all(self._file, data)
        self._count(data)
        self.rows += len(values)

    def sync(self) -> None:
        """Wait until every row so far is on the disk."""
        if self._file is not None:
            disk.sync(self._file)

    def finish(self) -> str:
        """Complete the chunk, of which every row was appended; returns the hex sha256 of all rows."""
        if self._file is not None:
            disk.write_all(self._file, self._crc.to_bytes(CRC_BYTES, "little"))
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Make what was written durable, and let go of the file."""
        if self._file is not None:
            disk.sync(self._file)
            self._file.close()
            self._file = None

    def _count(self, data: bytes) -> None:
        self._crc = google_crc32c.extend(self._crc, data)
        self._digest.update(data)

    def _take_over(self) -> None:
        """Cut the file back to the rows that are kept, and take their checksums."""
        if not self.rows:
            self._path.unlink(missing_ok=True)
            return
        with open(self._path, "r+b") as file:
            file.truncate(self.rows * self._layout.row_bytes)
            while data := file.read(disk.PIECE_BYTES):
                self._count(data)
        self._file = open(self._path, "ab")  # noqa: SIM115 - closed by `close`
