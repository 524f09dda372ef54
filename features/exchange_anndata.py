"""Embeddings as an AnnData file (.h5ad): patches are observations, places are in `obsm["spatial"]`.

Written and read with h5py, from AnnData's description of its format: every group and array says in two
attributes what it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsupportedFormat
from .exchange import RECORD, Exchanged, Facts, array_of, new_h5, opened_h5, plain_name
from .exchange_h5 import checked

if TYPE_CHECKING:
    import h5py

SPATIAL = "obsm/spatial"


def write_anndata(place: Path, name: str, bag: Exchanged) -> Path:
    """PLACE/NAME.h5ad; `obsm["spatial"]` holds top-left corners in level-0 px."""
    path = place / f"{name}.h5ad"
    count, dim = bag.features.shape
    with new_h5(path) as file:
        _is(file, "anndata", "0.1.0")
        _array(file, "X", bag.features)
        _frame(file, "obs", [f"{bag.slide_id}-{row}" for row in range(count)])
        _frame(file, "var", [str(column) for column in range(dim)])
        for group in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _is(file.create_group(group), "dict", "0.1.0")
        _array(file, SPATIAL, bag.coords)
        kept = {"digest": bag.digest, "attributes": bag.record}
        _text(file, f"uns/{RECORD}", json.dumps(kept))
        _text(file, "uns/encoder", bag.facts.extractor)
        _text(file, "uns/spatial_unit", "level-0 px, top-left corner of the patch")
        _array(file, "uns/patch_extent", np.array([bag.facts.extent]))
    return path


def read_anndata(path: Path, slide_id: str) -> Exchanged:
    """X as embeddings and `obsm["spatial"]` as top-left corners in level-0 px.

    Raises:
        UnsupportedFormat: it is sparse, or has no places.
    """
    with opened_h5(path) as file:
        if SPATIAL not in file:
            raise UnsupportedFormat('It has no obsm["spatial"].', "Add the corners of the patches, in px.")
        features, coords = array_of(file, "X"), array_of(file, SPATIAL)
        extent = float(array_of(file, "uns/patch_extent")[0]) if "uns/patch_extent" in file else 0.0
        facts = Facts("anndata", extractor=plain_name(_read_text(file, "uns/encoder")), extent=extent)
        return checked(Exchanged(slide_id, features, coords, facts), _read_text(file, f"uns/{RECORD}"))


def _is(what: Any, encoding: str, version: str) -> None:
    what.attrs["encoding-type"], what.attrs["encoding-version"] = encoding, version


def _array(file: h5py.File, name: str, values: Any) -> None:
    _is(file.create_dataset(name, data=values), "array", "0.2.0")


def _text(file: h5py.File, name: str, text: str) -> None:
    _is(file.create_dataset(name, data=text), "string", "0.2.0")


def _frame(file: h5py.File, name: str, index: list[str]) -> None:
    """A table with an index and no columns."""
    group = file.create_group(name)
    _is(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs["column-order"] = np.array([], dtype="S1")
    names = np.array([label.encode() for label in index], dtype=object)
    _is(group.create_dataset("_index", data=names, dtype=_text_kind()), "string-array", "0.2.0")


def _text_kind() -> Any:
    import h5py

    return h5py.string_dtype()


def _read_text(file: h5py.File, name: str) -> str:
    found = array_of(file, name)[()] if name in file else b""
    return found.decode(errors="replace") if isinstance(found, bytes) else ""
