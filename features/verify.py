"""Proving that a store is whole: metadata, chunks, checksums and what they say of each other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..status import NAMES, OK, UNREADABLE
from .layout import ROW_CHECKS, ArrayLayout, array_layouts, array_metadata, slide_id_of
from .rows import row_checks
from .store import Store, open_store
from .writer import metadata_digest


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store: which slide, which array (or "zarr.json"), and what."""

    slide_id: str
    array: str
    what: str


def verify_store(path: Path) -> list[Problem]:
    """Everything wrong with a store; empty when it is whole.

    Reads every byte: the digest of all metadata, the presence of every chunk, the crc32c of every
    chunk, the sha256 of every array, and that counts, status and NaN rows agree.
    """
    try:
        store = open_store(path)
    except StoreError as error:
        return [Problem(slide_id_of(path), "zarr.json", error.cause)]
    attributes = store.attributes
    if attributes.get("metadata_sha256") != _metadata_digest(path):
        return [Problem(store.slide_id, "zarr.json", "The metadata do not match their digest.")]
    problems: list[Problem] = []
    arrays: dict[str, NDArray[Any]] = {}
    for name, expected in sorted(attributes["checksums"].items()):
        try:
            arrays[name] = store.read(name)
        except StoreError as error:
            problems.append(Problem(store.slide_id, name, error.cause))
            continue
        if hashlib.sha256(arrays[name].data).hexdigest() != expected:
            problems.append(Problem(store.slide_id, name, "The array does not match its sha256."))
    return problems or _contradictions(store, arrays)


def _metadata_digest(path: Path) -> str:
    try:
        return metadata_digest(path)
    except (OSError, ValueError, KeyError):
        return ""


def _contradictions(store: Store, arrays: dict[str, NDArray[Any]]) -> list[Problem]:
    """What single checksums cannot see: arrays of the wrong shape, or that disagree."""

    def problem(array: str, what: str) -> list[Problem]:
        return [Problem(store.slide_id, array, what)]

    status, coords = arrays["status"], arrays["coords"]
    dim = int(store.attributes["encoder"]["dim"])
    for layout in array_layouts(len(coords), coords.shape[1], dim, arrays["mask"].shape):
        found = arrays.get(layout.name)
        if found is None or found.shape != layout.shape:
            return problem(layout.name, f"The array should have shape {layout.shape}.")
    attributes = store.attributes
    for value, key in NAMES.items():
        counted = attributes["counts"].get(key, 0)
        if counted != int((status == value).sum()):
            return problem("status", f"The attributes count {counted} patches as {key}.")
    if attributes.get("unreadable") != coords[status == UNREADABLE].tolist():
        return problem("status", "The attributes list other patches as unreadable.")
    if dim and not np.array_equal(np.isnan(arrays["features"]).any(axis=1), status != OK):
        return problem("features", "Rows are NaN where the status is 0, or the reverse.")
    if dim and not np.array_equal(row_checks(arrays["features"]), arrays[ROW_CHECKS]):
        return problem(ROW_CHECKS, "The checksums of single rows are not theirs.")
    return []


def missing_part(path: Path) -> str:
    """A quick look at a complete store, without reading its arrays: what is wrong, or nothing.

    Sees damaged metadata and chunks that are missing or of the wrong length; not a flipped bit.
    """
    if open_store(path).attributes.get("metadata_sha256") != _metadata_digest(path):
        return "its metadata do not match their digest"
    for metadata in sorted(path.glob("*/zarr.json")):
        described = json.loads(metadata.read_text())
        layout = ArrayLayout(metadata.parent.name, tuple(described["shape"]), described["data_type"])
        if described != array_metadata(layout):
            return f"{layout.name} is laid out as an earlier version did"
        chunk = metadata.parent / layout.chunk_key
        if layout.chunk_bytes and not (chunk.is_file() and chunk.stat().st_size == layout.chunk_bytes):
            return f"a chunk of {layout.name} is missing or cut short"
    return ""
