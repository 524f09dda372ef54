"""Writing a store so that it is either whole or not there, and so that a killed run goes on in it.

The store is built beside its place, every file made durable, the folder renamed into place, and only
then marked `complete`: a power cut at any moment leaves an unfinished store that every reader refuses.
Rows are appended as they come; a writer with the same key takes over what an earlier one left.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import EnvironmentProblem
from ..spec import json_digest
from ..status import NAMES, OK, UNREADABLE
from . import disk
from .layout import ROW_CHECKS, ArrayLayout, array_layouts, array_metadata, group_metadata
from .rows import RowFile, row_checks, rows_on_disk

Arrays = Mapping[str, NDArray[Any]]
PROGRESS = "progress.json"
GROWING = ("status", "features", ROW_CHECKS)
SYNC_SECONDS = 3.0
"""How much work a power cut may cost; a killed process loses only the batch it was on."""


@dataclass(frozen=True)
class Resume:
    """When an unfinished store may be gone on with.

    Attributes:
        key: digest of everything that the rows depend on; empty to start afresh always.
        align: rows are kept in multiples of this, the batch size, so that a resumed run encodes the
            same batches and writes the same bytes.
    """

    key: str = ""
    align: int = 1


class StoreWriter:
    """Takes the patches of one slide in order and commits them as one store.

    Use as a context manager. Leaving it without `commit` removes everything if the slide itself
    failed or there is no key to resume by; else the rows so far stay for the next writer.

    Args:
        place: final path of the store.
        fixed: what is known before reading: `coords` (N, 2|3), `tissue` (N,), `thumbnail` (h, w, 3)
            and `mask` (h, w).
        dim: length of an embedding; 0 for none.
        resume: when an earlier writer's rows may be taken over.
    """

    def __init__(self, place: Path, fixed: Arrays, dim: int, resume: Resume | None = None) -> None:
        self._place = place
        self._beside = beside_of(place)
        self._fixed = fixed
        self._layouts = layouts_of(fixed, dim)
        self._resume = resume or Resume()
        self._committed = False

    def __enter__(self) -> Self:
        with disk.full_disk_named(self._place):
            kept = rows_to_keep(self._place, self._layouts, self._resume)
            if not kept:
                disk.remove_tree(self._beside)
            self._growing: dict[str, RowFile] = {
                name: RowFile(self._beside / name, self._layouts[name], kept)
                for name in GROWING
                if name in self._layouts
            }
            self._synced = time.monotonic()
        return self

    @property
    def rows_done(self) -> int:
        """How many patches need not be read again."""
        return self._growing["status"].rows

    def append(self, status: NDArray[np.uint8], features: NDArray[np.float32]) -> None:
        """The next patches: status (B,) and the embeddings (number of status 0, dim) of the good ones."""
        with disk.full_disk_named(self._place):
            if "features" in self._growing:
                rows = np.full((len(status), self._layouts["features"].shape[1]), np.nan, np.float32)
                rows[status == OK] = features
                self._growing["features"].append(rows)
                self._growing[ROW_CHECKS].append(row_checks(rows))
            self._growing["status"].append(status)
            if self._resume.key and time.monotonic() - self._synced >= SYNC_SECONDS:
                self._note_progress()

    def status_so_far(self) -> NDArray[np.uint8]:
        """The status of every patch that is done (rows_done,)."""
        path = self._beside / "status" / self._layouts["status"].chunk_key
        if not self.rows_done:
            return np.empty(0, np.uint8)
        return np.fromfile(path, np.uint8, count=self.rows_done)

    def commit(self, attributes: Mapping[str, Any]) -> None:
        """Finish the store with these JSON attributes; it is complete when this returns."""
        wanted = self._layouts["status"].shape[0]
        if self.rows_done != wanted:
            raise RuntimeError(f"{self.rows_done} of {wanted} patches were appended")
        with disk.full_disk_named(self._place):
            status = self.status_so_far()
            found = {"counts": _counts(status), "unreadable": unreadable(status, self._fixed["coords"])}
            checksums: dict[str, str] = {name: rows.finish() for name, rows in self._growing.items()}
            checksums |= {name: self._write(name, array) for name, array in self._fixed.items()}
            arrays = {name: array_metadata(layout) for name, layout in self._layouts.items()}
            for name, metadata in arrays.items():
                disk.write_file(self._beside / name / "zarr.json", json.dumps(metadata, indent=2).encode())
            group = group_metadata({**attributes, **found, "checksums": checksums})
            group["attributes"]["metadata_sha256"] = digest_of(group, arrays)
            (self._beside / PROGRESS).unlink(missing_ok=True)
            put_in_place(self._beside, self._place, group)
        self._committed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rows in self._growing.values():
            rows.close()
        if self._committed:
            return
        no_room = isinstance(error, OSError | EnvironmentProblem)
        useless = not self._resume.key or not self.rows_done
        if useless or (isinstance(error, Exception) and not no_room):
            disk.remove_tree(self._beside)
        elif not no_room:
            self._note_progress()

    def _write(self, name: str, values: NDArray[Any]) -> str:
        """One array that is known whole; returns its sha256."""
        rows = RowFile(self._beside / name, self._layouts[name])
        try:
            rows.append(values)
            return rows.finish()
        finally:
            rows.close()

    def _note_progress(self) -> None:
        """Make the rows durable, then say so: only rows that were surely written are ever taken over."""
        for rows in self._growing.values():
            rows.sync()
        disk.replace_json(self._beside / PROGRESS, {"key": self._resume.key, "rows": self.rows_done})
        self._synced = time.monotonic()


def layouts_of(fixed: Arrays, dim: int) -> dict[str, ArrayLayout]:
    """The arrays of a store by name, from what is known before reading and the length of an embedding."""
    coords = fixed["coords"]
    layouts = array_layouts(len(coords), coords.shape[1], dim, fixed["mask"].shape)
    return {layout.name: layout for layout in layouts}


def rows_to_keep(place: Path, layouts: Mapping[str, ArrayLayout], resume: Resume) -> int:
    """How many rows an earlier writer with the same key surely wrote, in whole batches."""
    beside = beside_of(place)
    try:
        noted = json.loads((beside / PROGRESS).read_text())
    except (OSError, ValueError):
        return 0
    if not resume.key or noted.get("key") != resume.key:
        return 0
    found = [rows_on_disk(beside / name, layouts[name]) for name in GROWING if name in layouts]
    return min([int(noted["rows"]), *found]) // resume.align * resume.align


def beside_of(place: Path) -> Path:
    """Where a store is built before it is renamed into its place."""
    return place.with_name(f".{place.name}.partial")


def put_in_place(beside: Path, place: Path, group: dict[str, Any]) -> None:
    """Rename a finished folder, then mark it complete; an older store there is moved away first.

    Args:
        group: the group's metadata, which are written last.
    """
    group["attributes"]["complete"] = False
    disk.replace_json(beside / "zarr.json", group)
    for folder in (*sorted(p for p in beside.rglob("*") if p.is_dir()), beside):
        disk.sync_folder(folder)
    old = place.with_name(f".{place.name}.old")
    disk.remove_tree(old)
    if place.exists():
        disk.rename(place, old)
    disk.rename(beside, place)
    group["attributes"]["complete"] = True
    disk.replace_json(place / "zarr.json", group)
    disk.remove_tree(old)


def metadata_digest(store: Path) -> str:
    """Hex sha256 over the metadata of the group and of every array, as `digest_of`."""
    arrays = {p.parent.name: json.loads(p.read_text()) for p in store.glob("*/zarr.json")}
    return digest_of(json.loads((store / "zarr.json").read_text()), arrays)


def digest_of(group: Mapping[str, Any], arrays: Mapping[str, Any]) -> str:
    """Hex sha256 over all metadata; `complete` and the digest itself are left out: they come after it."""
    later = ("complete", "metadata_sha256")
    attributes = {key: value for key, value in group["attributes"].items() if key not in later}
    return json_digest({"group": {**group, "attributes": attributes}, "arrays": arrays})


def unreadable(status: NDArray[np.uint8], coords: NDArray[Any]) -> list[list[int]]:
    """The coordinates (level-0 px) of the patches that could not be decoded, as JSON."""
    found: list[list[int]] = coords[status == UNREADABLE].astype(np.int32).tolist()
    return found


def _counts(status: NDArray[np.uint8]) -> dict[str, int]:
    return {name: int((status == value).sum()) for value, name in NAMES.items()}
