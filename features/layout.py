"""What a store (schema 1) looks like on disk: its arrays, chunks and names.

A store is a Zarr v3 group. Every array is one uncompressed chunk: its rows, one after the other, so that
a bag is one piece of memory and a slide a few files. Every chunk ends in a crc32c, since a default Zarr
chunk with a flipped bit reads back silently; embeddings have one per row besides, so that some rows can be
read and checked without the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

AnyPath = str | os.PathLike[str]
"""What public functions take for a path."""

SCHEMA = 1
SUFFIX = ".zarr"
ROW_CHECKS = "features_crc32c"
"""The array with the crc32c of each row of `features`."""
CRC_BYTES = 4
MAX_NAME = 200
"""Most characters of an encoded id: what is put around it must fit with it into 255 bytes."""
CUT = "%~"
"""Comes before the digest in a name that was cut; percent-encoding never writes it."""


@dataclass(frozen=True)
class ArrayLayout:
    """One array of a store: `shape` in elements, `dtype` a numpy name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """All of the array; Zarr wants at least one element along each axis."""
        return tuple(max(1, n) for n in self.shape)

    @property
    def row_bytes(self) -> int:
        """Length of one row in bytes."""
        return int(np.prod(self.shape[1:])) * np.dtype(self.dtype).itemsize

    @property
    def chunk_bytes(self) -> int:
        """Length of the chunk's file, its crc32c included; 0 where there is no element, and so no file."""
        return 0 if 0 in self.shape else self.shape[0] * self.row_bytes + CRC_BYTES

    @property
    def chunk_key(self) -> str:
        """File name of the chunk, below the array's folder."""
        return "c" + "/0" * len(self.shape)


def array_layouts(rows: int, axes: int, dim: int, picture: tuple[int, int]) -> list[ArrayLayout]:
    """The arrays of a store of `rows` patches with `axes` coordinates and `dim` float32 features.

    Args:
        picture: (h, w) of the thumbnail and the mask.
    """
    layouts = [
        ArrayLayout("coords", (rows, axes), "int32"),
        ArrayLayout("status", (rows,), "uint8"),
        ArrayLayout("tissue", (rows,), "float16"),
        ArrayLayout("thumbnail", (*picture, 3), "uint8"),
        ArrayLayout("mask", picture, "uint8"),
    ]
    if not dim:
        return layouts
    return [
        *layouts,
        ArrayLayout("features", (rows, dim), "float32"),
        ArrayLayout(ROW_CHECKS, (rows,), "uint32"),
    ]


def array_metadata(layout: ArrayLayout) -> dict[str, Any]:
    """The array's zarr.json: one raw little-endian chunk with a crc32c behind it.

    Source: Zarr core specification, version 3.1.
    """
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(layout.shape),
        "data_type": layout.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(layout.chunk_shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if layout.dtype.startswith("float") else 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "attributes": {},
    }


def group_metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The group's zarr.json."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def store_path(run: Path, slide_id: str) -> Path:
    """Where the store of a slide lies: RUN/embeddings/<percent-encoded id>.zarr.

    An id too long for a file name is cut, and the digest of all of it put in the place of the rest.
    """
    name = quote(slide_id, safe=" +,=@()[]{}!&'", encoding="utf-8", errors="surrogateescape")
    # A leading dot would hide the store, and "." or ".." would not be a name at all.
    name = "%2E" + name[1:] if name.startswith(".") else name
    return run / "embeddings" / ((_cut(name) if len(name) > MAX_NAME else name) + SUFFIX)


def _cut(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return re.sub("%.?$", "", name[: MAX_NAME - len(CUT) - len(digest)]) + CUT + digest


def slide_id_of(path: Path) -> str:
    """The inverse of `store_path`; of a name that was cut, the id that the store records."""
    name = path.name.removesuffix(SUFFIX)
    recorded = _recorded_id(path) if CUT in name else ""
    return recorded or unquote(name, encoding="utf-8", errors="surrogateescape")


def _recorded_id(path: Path) -> str:
    """The id in a store's attributes, or nothing where they cannot be read."""
    try:
        return str(json.loads((path / "zarr.json").read_text())["attributes"]["slide_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def list_stores(run: Path) -> list[Path]:
    """The stores of a run folder, complete or not, sorted by name; unfinished writes are left out."""
    return sorted(p for p in (run / "embeddings").glob(f"*{SUFFIX}") if not p.name.startswith("."))
