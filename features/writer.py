"""Writing a store so that it is either whole or not there.

The store is built beside its place, every file fsynced, the folder renamed into place, and only then
marked `complete`: a power cut at any moment leaves an unfinished store that every reader refuses.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from ..errors import DiskFull
from ..spec import json_digest
from ..status import OK, OUTSIDE, UNREADABLE
from .layout import ArrayLayout, array_layouts, row_bytes

Arrays = Mapping[str, NDArray[Any]]


class StoreWriter:
    """Takes the patches of one slide in order and commits them as one store.

    Use as a context manager: leaving it without `commit` removes everything written.

    Args:
        place: final path of the store.
        fixed: what is known before reading: `coords` (N, 2|3), `tissue` (N,), `thumbnail` (h, w, 3)
            and `mask` (h, w).
        dim: length of an embedding; 0 for none.
    """

    def __init__(self, place: Path, fixed: Arrays, dim: int) -> None:
        self._place = place
        self._beside = place.with_name(f".{place.name}.partial")
        self._fixed = fixed
        coords = fixed["coords"]
        layouts = array_layouts(len(coords), coords.shape[1], dim, fixed["mask"].shape)
        self._layouts = {layout.name: layout for layout in layouts}
        self._status = np.zeros(len(coords), np.uint8)
        self._checksums: dict[str, str] = {}
        self._rows = 0

    def __enter__(self) -> Self:
        with _disk_errors(self._place):
            shutil.rmtree(self._beside, ignore_errors=True)
            self._beside.parent.mkdir(parents=True, exist_ok=True)
            self._group = zarr.create_group(self._beside, zarr_format=3)
            self._features = _FeatureRows(self._group, self._layouts.get("features"))
            for name, array in self._fixed.items():
                self._write(name, array)
        return self

    def append(self, status: NDArray[np.uint8], features: NDArray[np.float32]) -> None:
        """The next patches: status (B,) and the embeddings (number of status 0, dim) of the good ones."""
        with _disk_errors(self._place):
            self._status[self._rows : self._rows + len(status)] = status
            self._rows += len(status)
            self._features.append(status, features)

    def commit(self, attributes: Mapping[str, Any]) -> None:
        """Finish the store with these JSON attributes; it is complete when this returns."""
        if self._rows != len(self._status):
            raise RuntimeError(f"{self._rows} of {len(self._status)} patches were appended")
        with _disk_errors(self._place):
            self._write("status", self._status)
            if "features" in self._layouts:
                self._checksums["features"] = self._features.finish()
            self._group.attrs.put({**attributes, **self._closing_attributes()})
            _seal(self._beside)
            _sync_tree(self._beside)
            _replace(self._beside, self._place)
            _mark_complete(self._place)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._beside, ignore_errors=True)

    def _write(self, name: str, array: NDArray[Any]) -> None:
        layout = self._layouts[name]
        created = create_array(self._group, layout)
        values = np.asarray(array, layout.dtype)
        if values.size:
            created[...] = values
        self._checksums[name] = hashlib.sha256(row_bytes(values)).hexdigest()

    def _closing_attributes(self) -> dict[str, Any]:
        counts = {
            name: int((self._status == value).sum())
            for name, value in (("ok", OK), ("unreadable", UNREADABLE), ("outside", OUTSIDE))
        }
        return {"counts": counts, "checksums": self._checksums, "complete": False}


class _FeatureRows:
    """Collects feature rows and writes them one full chunk at a time."""

    def __init__(self, group: zarr.Group, layout: ArrayLayout | None) -> None:
        self._layout = layout
        if layout is not None:
            self._array = create_array(group, layout)
            self._buffer = np.empty(layout.chunks, layout.dtype)
        self._digest = hashlib.sha256()
        self._held = self._start = 0

    def append(self, status: NDArray[np.uint8], features: NDArray[np.float32]) -> None:
        if self._layout is None:
            return
        rows = np.full((len(status), self._layout.shape[1]), np.nan, self._layout.dtype)
        rows[status == OK] = features
        while len(rows):
            taken = rows[: len(self._buffer) - self._held]
            self._buffer[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            rows = rows[len(taken) :]
            if self._held == len(self._buffer):
                self._flush()

    def finish(self) -> str:
        """Write what is left; returns the hex sha256 of all rows."""
        self._flush()
        return self._digest.hexdigest()

    def _flush(self) -> None:
        if self._held:
            rows = self._buffer[: self._held]
            self._array[self._start : self._start + self._held] = rows
            self._digest.update(row_bytes(rows))
            self._start += self._held
            self._held = 0


def create_array(group: zarr.Group, layout: ArrayLayout) -> zarr.Array[Any]:
    """An array of the group with a crc32c behind every chunk, and every chunk written."""
    return group.create_array(
        layout.name,
        shape=layout.shape,
        chunks=layout.chunks,
        dtype=layout.dtype,
        compressors=[Crc32cCodec()],
        fill_value=np.nan if layout.dtype.startswith("float") else 0,
        # Zarr leaves out chunks equal to the fill value; then a lost chunk could not be told from one.
        config={"write_empty_chunks": True},
    )


def metadata_digest(store: Path) -> str:
    """Hex sha256 over the metadata of the group and of every array.

    The attributes `complete` and `metadata_sha256` are left out: they are written after it.
    """
    group = json.loads((store / "zarr.json").read_text())
    for written_later in ("complete", "metadata_sha256"):
        group["attributes"].pop(written_later, None)
    arrays = {p.parent.name: json.loads(p.read_text()) for p in sorted(store.glob("*/zarr.json"))}
    return json_digest({"group": group, "arrays": arrays})


def _seal(store: Path) -> None:
    digest = metadata_digest(store)
    _edit_attributes(store, {"metadata_sha256": digest})


def _mark_complete(store: Path) -> None:
    _edit_attributes(store, {"complete": True})
    _sync(store)


def _edit_attributes(store: Path, changes: Mapping[str, Any]) -> None:
    """Rewrite the group's metadata in one step: a reader sees the old or the new file."""
    path = store / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"].update(changes)
    beside = path.with_suffix(".json.partial")
    with open(beside, "w") as file:
        json.dump(document, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _replace(beside: Path, place: Path) -> None:
    """Rename a folder into place; an older store there is moved away first and then deleted."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    beside.rename(place)
    _sync(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _disk_errors:  # noqa: N801 - reads as a verb where it is used
    """Turns 'no space left' into `DiskFull`, which stops a run cleanly."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(
                f"No space is left to write {self._place.name}.",
                "Free some space and run the same command again: finished slides are intact.",
            ) from error
