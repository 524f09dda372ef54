"""Reading a store: refused unless it says it is complete and every chunk is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreCorrupt, StoreIncomplete
from .chunk import BadChecksum, chunk_rows, whole_chunk
from .layout import ROW_CHECKS, SCHEMA, AnyPath, ArrayLayout, array_metadata, slide_id_of


class Store:
    """One slide's embeddings, read-only. Make it with `open_store`.

    Attributes:
        path: the store's folder.
        attributes: schema, source, patch spec, encoder card, precision, stain, software, counts, checksums.
    """

    def __init__(self, path: Path, attributes: dict[str, Any]) -> None:
        self.path = path
        self.attributes = attributes

    @property
    def slide_id(self) -> str:
        """The slide's id, as in labels and predictions."""
        return str(self.attributes["slide_id"])

    def coords(self) -> NDArray[np.int32]:
        """Top-left corners (N, 2|3) in level-0 px, (x, y[, z]) order."""
        return self.read("coords")

    def status(self) -> NDArray[np.uint8]:
        """Per patch (N,): 0 ok, 1 unreadable, 2 outside the scanned area, 3 excluded for pen, 4 for blur."""
        return self.read("status")

    def tissue(self) -> NDArray[np.float16]:
        """Tissue fraction per patch (N,)."""
        return self.read("tissue")

    def features(self) -> NDArray[np.float32]:
        """Embeddings (N, dim), NaN where status is not 0."""
        return self.read("features")

    def feature_rows(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """The embeddings of some patches (len(rows), dim), in the order asked for; no others are read.

        Raises:
            IndexError: there is no such row.
            StoreCorrupt: a row is missing or fails its checksum.
        """
        layout = self._layout("features")
        wanted = np.asarray(rows, np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < layout.shape[0]:
            raise IndexError(f"rows from {wanted.min()} to {wanted.max()} of {layout.shape[0]}")
        checks = self.read(ROW_CHECKS)[wanted].tolist()
        path = self.path / "features" / layout.chunk_key
        with self._problems_named("features"):
            found = chunk_rows(path, wanted.tolist(), layout.row_bytes, checks)
        return found.view(layout.dtype)

    def thumbnail(self) -> NDArray[np.uint8]:
        """The whole slide, small: (h, w, 3)."""
        return self.read("thumbnail")

    def mask(self) -> NDArray[np.uint8]:
        """Tissue (1) and background (0) on the thumbnail's pixels: (h, w)."""
        return self.read("mask")

    def read(self, name: str) -> NDArray[Any]:
        """One array, whole.

        Raises:
            StoreCorrupt: the array or one of its chunks is missing, or fails its checksum.
        """
        layout = self._layout(name)
        if not layout.chunk_bytes:
            return np.empty(layout.shape, layout.dtype)
        path = self.path / name / layout.chunk_key
        if not path.is_file():
            raise _corrupt(self.path, name, f"chunk {layout.chunk_key} is missing")
        with self._problems_named(name):
            if path.stat().st_size != layout.chunk_bytes:
                raise BadChecksum(path.name)
            return whole_chunk(path).view(layout.dtype).reshape(layout.shape)

    def _layout(self, name: str) -> ArrayLayout:
        try:
            found = json.loads((self.path / name / "zarr.json").read_text())
            layout = ArrayLayout(name, tuple(found["shape"]), found["data_type"])
            if found == array_metadata(layout):
                return layout
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise _corrupt(self.path, name, "the array is missing or its metadata is damaged") from error
        raise _corrupt(self.path, name, "it is laid out in another way than this version writes")

    @contextmanager
    def _problems_named(self, name: str) -> Iterator[None]:
        try:
            yield
        except BadChecksum as error:
            raise _corrupt(self.path, name, "a chunk does not match its checksum") from error
        except OSError as error:
            raise _corrupt(self.path, name, "a chunk cannot be read") from error


def open_store(path: AnyPath) -> Store:
    """Open a complete store.

    Raises:
        StoreIncomplete: there is no store, or its writing was never finished.
        StoreCorrupt: its metadata cannot be read or have another schema.
    """
    path = Path(path)
    try:
        attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    except FileNotFoundError as error:
        raise StoreIncomplete(f"There is no finished store of {slide_id_of(path)!r}.", _RUN_AGAIN) from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise _corrupt(path, "zarr.json", "it cannot be read") from error
    if not isinstance(attributes, dict) or attributes.get("schema") != SCHEMA:
        raise _corrupt(path, "zarr.json", f"it does not describe a store of schema {SCHEMA}")
    if attributes.get("complete") is not True:
        raise StoreIncomplete(f"The store of {slide_id_of(path)!r} was never finished.", _RUN_AGAIN)
    return Store(path, attributes)


_RUN_AGAIN = "Run `slidestream run` again with the same options: it redoes exactly this slide."


def _corrupt(path: Path, name: str, what: str) -> StoreCorrupt:
    return StoreCorrupt(f"Store {slide_id_of(path)!r}, {name}: {what}.", _RUN_AGAIN)
