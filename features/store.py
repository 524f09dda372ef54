"""Reading a store: refused unless it says it is complete and every chunk is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from ..errors import StoreCorrupt, StoreIncomplete
from .layout import SCHEMA, AnyPath, ArrayLayout, slide_id_of


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
        array = self._open(name)
        layout = ArrayLayout(name, array.shape, str(array.dtype))
        missing = [key for key in layout.chunk_keys if not (self.path / name / key).is_file()]
        if missing:
            raise _corrupt(self.path, name, f"chunk {missing[0]} is missing")
        try:
            return cast("NDArray[Any]", array[...])
        except (ValueError, OSError) as error:  # a wrong crc32c is a ValueError, a short file too
            raise _corrupt(self.path, name, "a chunk does not match its checksum") from error

    def _open(self, name: str) -> zarr.Array[Any]:
        try:
            return zarr.open_array(self.path / name, mode="r", zarr_format=3)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise _corrupt(self.path, name, "the array is missing or its metadata is damaged") from error


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
