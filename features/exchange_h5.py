"""Embeddings as TRIDENT, CLAM and STAMP keep them: an HDF5 file per slide.

TRIDENT: `features` (N, D), `coords` (N, 2) in level-0 px with attributes on `coords`. CLAM: the same without
attributes, and the features once more as a tensor in a .pt file. STAMP: `feats` (N, D), `coords` (N, 2) in
µm.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedFormat
from . import disk
from .exchange import RECORD, Exchanged, Facts, array_of, new_h5, opened_h5, plain_name

if TYPE_CHECKING:
    import h5py

NOMINAL = 10.0
"""What these tools call a magnification: 10 divided by µm per px."""
STAMP_LAYOUT = "2.1.0"
"""The version of STAMP whose attributes these are."""


def write_trident(place: Path, name: str, bag: Exchanged) -> Path:
    """PLACE/NAME.h5; magnifications are 10 divided by µm per px, and not rounded."""
    path, facts = place / f"{name}.h5", bag.facts
    spacing = facts.extent * facts.slide_mpp[0] / facts.size_px
    with new_h5(path) as file:
        _write_arrays(file, "features", bag, np.int64)
        file["coords"].attrs.update(
            patch_size=facts.size_px,
            patch_size_level0=round(facts.extent),
            level0_magnification=NOMINAL / facts.slide_mpp[0],
            target_magnification=NOMINAL / spacing,
            overlap=round(bag.record["patch"]["overlap"] * facts.size_px),
            level0_width=facts.slide_size[0],
            level0_height=facts.slide_size[1],
            name=name,
        )
        file["features"].attrs["encoder"] = facts.extractor
    return path


def write_clam(place: Path, name: str, bag: Exchanged) -> Path:
    """PLACE/h5_files/NAME.h5 and PLACE/pt_files/NAME.pt."""
    import torch

    path, tensor = place / "h5_files" / f"{name}.h5", place / "pt_files" / f"{name}.pt"
    with new_h5(path) as file:
        _write_arrays(file, "features", bag, np.int32)
    with disk.full_disk_named(tensor):
        tensor.parent.mkdir(parents=True, exist_ok=True)
        beside = tensor.with_name(f".{tensor.name}.partial")
        torch.save(torch.from_numpy(bag.features), beside)
        disk.rename(beside, tensor)
    return path


def write_stamp(place: Path, name: str, bag: Exchanged) -> Path:
    """PLACE/NAME.h5; embeddings keep all their digits, where STAMP itself rounds to float16."""
    path = place / f"{name}.h5"
    with new_h5(path) as file:
        _write_arrays(file, "feats", bag, np.float64)
        file.attrs.update(
            stamp_version=STAMP_LAYOUT,
            extractor=bag.facts.extractor,
            unit="um",
            tile_size_um=bag.facts.extent,
            tile_size_px=bag.facts.size_px,
            feat_type="tile",
        )
    return path


def _write_arrays(file: h5py.File, features: str, bag: Exchanged, kind: type[np.generic]) -> None:
    file.create_dataset(features, data=bag.features)
    file.create_dataset("coords", data=bag.coords.astype(kind))
    file.attrs[RECORD] = json.dumps({"digest": bag.digest, "attributes": bag.record})


def read_h5(path: Path, slide_id: str) -> Exchanged:
    """A file of TRIDENT, CLAM or STAMP; which, its content says.

    Raises:
        UnsupportedFormat: it holds no embeddings of patches with coordinates.
    """
    with opened_h5(path) as file:
        stamp = "feats" in file
        features, coords = array_of(file, "feats" if stamp else "features"), array_of(file, "coords")
        facts = _stamp_facts(file) if stamp else _level0_facts(file["coords"].attrs)
        return checked(Exchanged(slide_id, features, coords, facts), file.attrs.get(RECORD))


def read_tensor(path: Path, coords: Path, slide_id: str) -> Exchanged:
    """A .pt file of CLAM, with the coordinates from the file that its patches were listed in.

    Raises:
        UnsupportedFormat: it holds more than a tensor (nothing else is ever unpickled), or other patches.
    """
    import torch

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise UnsupportedFormat(f"{path.name} is no tensor file.", "Leave it out.") from error
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        raise UnsupportedFormat(f"{path.name} holds something other than a tensor.", "Leave it out.")
    with opened_h5(coords) as file:
        places, facts = array_of(file, "coords"), _level0_facts(file["coords"].attrs)
    return checked(Exchanged(slide_id, tensor.float().numpy(), places, facts), None)


def checked(found: Exchanged, record: str | bytes | None) -> Exchanged:
    """The arrays as they should be, with the record of our own export if they are still the same.

    Raises:
        UnsupportedFormat: they are not what patches have.
    """
    features, coords = _rows(found.features), _rows(found.coords)
    if features.dtype.kind != "f" or len(features) != len(coords) or coords.shape[1] not in (2, 3):
        raise UnsupportedFormat(
            f"features {features.shape} and coords {coords.shape} are not those of patches.",
            "Embeddings of whole slides cannot be imported.",
        )
    if not np.isfinite(coords).all():
        raise UnsupportedFormat("Its coordinates are not all numbers.", "Export it again.")
    same = Exchanged(found.slide_id, features.astype(np.float32), coords.astype(np.float64), found.facts)
    known = _record(record)
    if known.get("digest") != same.digest:
        return same
    attributes = dict(known["attributes"])
    return Exchanged(str(attributes["slide_id"]), same.features, same.coords, found.facts, attributes)


def _record(text: str | bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """(N, D) of (N, D) or (1, N, D)."""
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    if array.ndim != 2:
        raise UnsupportedFormat(
            f"An array of shape {array.shape} is not one row per patch.",
            "Embeddings of whole slides cannot be imported.",
        )
    return array


def _stamp_facts(file: h5py.File) -> Facts:
    said = file.attrs
    if said.get("unit") != "um":
        raise UnsupportedFormat(
            "It does not say that its coordinates are in µm (attribute unit), as STAMP since version 2 does.",
            "Extract the features with a newer STAMP.",
        )
    extent = said.get("tile_size_um", said.get("tile_size", 0))
    return Facts(
        "stamp",
        extractor=plain_name(said.get("extractor", "")),
        size_px=int(said.get("tile_size_px", 0)),
        extent=float(extent),
        microns=True,
    )


def _level0_facts(said: Any) -> Facts:
    """Of TRIDENT's attributes; CLAM writes none."""
    width, height = int(said.get("level0_width", 0)), int(said.get("level0_height", 0))
    return Facts(
        "trident" if "patch_size_level0" in said else "clam",
        size_px=int(said.get("patch_size", 0)) if "patch_size_level0" in said else 0,
        extent=float(said.get("patch_size_level0", 0)),
        slide_size=(width, height) if width and height else (),
    )
