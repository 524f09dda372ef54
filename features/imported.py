"""A store of embeddings that others computed: it says what is not known, and never passes for another.

What a file does not say stays unknown: numbers are 0, texts "unknown". The encoder card of such a store has
the label of its import as revision, so that its embeddings equal only those imported under the same label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadGeometry
from ..status import OK, UNREADABLE
from .card import EncoderCard
from .exchange import Exchanged
from .layout import SCHEMA
from .store import Store
from .writer import StoreWriter

UNKNOWN = "unknown"
PICTURE_PX = 512
"""Longer side of the empty picture that stands for the thumbnail."""
NEVER_KNOWN = (
    "encoder.sha256",
    "encoder.source",
    "precision",
    "stain",
    "tissue",
    "patches left out",
    "thumbnail",
)
NOT_EXPORTED = ("patches left out", "thumbnail")


@dataclass(frozen=True)
class Labelled:
    """What a user says of files to import.

    Attributes:
        label: what all embeddings made alike are called.
        slide_mpp: µm per px of the slides at level 0; 0 where it is not known.
    """

    label: str
    slide_mpp: float = 0.0


def attributes_of(bag: Exchanged, said: Labelled) -> dict[str, Any]:
    """What the store of an import records: of our own export the same as before, else what is known."""
    identity = f"imported-{bag.digest}"
    if bag.record:
        imported = {"form": bag.facts.form, "label": said.label, "unknown": list(NOT_EXPORTED)}
        return {**bag.record, "imported": imported}
    mpp, facts = said.slide_mpp, bag.facts
    extent = _extent(bag, mpp)
    spacing = extent * (mpp or float(facts.microns)) / facts.size_px if facts.size_px else 0.0
    size = facts.slide_size or tuple(int(v) for v in np.ceil(_corners(bag, mpp).max(0) + extent)[:2])
    known = {"source.spacing": mpp, "source.size": facts.slide_size, "patch.size_px": facts.size_px}
    known |= {"patch.spacing": spacing, "extent": facts.extent, "encoder": facts.extractor}
    return {
        "schema": SCHEMA,
        "slide_id": bag.slide_id,
        "source": {
            "kind": "slide",
            "format": facts.form,
            "size": list(size),
            "spacing": [_px_um(bag, mpp)] * 2,
            "identity": identity,
        },
        "patch": {"size_px": facts.size_px, "spacing": spacing},
        "extent": [extent, extent],
        "encoder": unknown_card(facts.extractor, bag.features.shape[1], said.label).to_dict(),
        "precision": UNKNOWN,
        "stain": {"method": UNKNOWN},
        "software": {"slidestream": version("slidestream")},
        "imported": {
            "form": facts.form,
            "label": said.label,
            "unknown": sorted([*NEVER_KNOWN, *(name for name, value in known.items() if not value)]),
        },
    }


def unknown_card(extractor: str, dim: int, label: str) -> EncoderCard:
    """A card that says how little is known; its name is that of no encoder."""
    return EncoderCard(
        name=f"imported:{extractor or UNKNOWN}",
        source=UNKNOWN,
        revision=f"imported as {label}",
        sha256=UNKNOWN,
        licence=UNKNOWN,
        gated=False,
        dim=dim,
        input_px=0,
        pooling=UNKNOWN,
    )


def write_import(place: Path, bag: Exchanged, attributes: Mapping[str, Any]) -> None:
    """A store like any other. Rows with NaN are unreadable; the picture is white, its mask where patches are.

    Raises:
        BadGeometry: coordinates too large for a slide.
        DiskFull: there is no room for it; nothing is left in place.
    """
    corners = level0_corners(bag, attributes)
    status = np.where(np.isnan(bag.features).any(axis=1), UNREADABLE, OK).astype(np.uint8)
    size = np.array(attributes["source"]["size"][:2])
    mask = _footprint(corners[:, :2], attributes["extent"][:2], size)
    fixed: dict[str, NDArray[Any]] = {
        "coords": corners,
        "tissue": np.full(len(corners), np.nan, np.float16),
        "thumbnail": np.full((*mask.shape, 3), 255, np.uint8),
        "mask": mask,
    }
    with StoreWriter(place, fixed, bag.features.shape[1]) as writer:
        writer.append(status, bag.features[status == OK])
        writer.commit(attributes)


def same_import(store: Store, attributes: Mapping[str, Any]) -> bool:
    """Whether a store was imported from a file with the same content, as the same thing."""
    return all(store.attributes.get(key) == value for key, value in attributes.items())


def _px_um(bag: Exchanged, mpp: float) -> float:
    """µm per px of the store: coordinates in µm, if no slide's mpp is given, are those of 1 µm per px."""
    return mpp or float(bag.facts.microns)


def _corners(bag: Exchanged, mpp: float) -> NDArray[np.float64]:
    return bag.coords / mpp if bag.facts.microns and mpp else bag.coords


def _extent(bag: Exchanged, mpp: float) -> float:
    """Side of a patch in the store's px; where the file does not say, the least distance of two patches."""
    if bag.facts.extent:
        return bag.facts.extent / mpp if bag.facts.microns and mpp else bag.facts.extent
    steps = np.concatenate([np.diff(np.unique(axis)) for axis in _corners(bag, mpp)[:, :2].T])
    return float(steps.min()) if len(steps) else 1.0


def level0_corners(bag: Exchanged, attributes: Mapping[str, Any]) -> NDArray[np.int32]:
    """Corners (N, 2 or 3) in whole level-0 px, for a bag and its `attributes_of`.

    Raises:
        BadGeometry: coordinates too large for a slide.
    """
    spacing = np.array(attributes["source"]["spacing"][: bag.coords.shape[1]])
    corners = bag.coords / spacing if bag.facts.microns else bag.coords
    if len(corners) and (np.abs(corners) > np.iinfo(np.int32).max).any():
        raise BadGeometry("Its coordinates are no pixels of a slide.", "Check the file.")
    return corners.round().astype(np.int32)


def _footprint(corners: NDArray[np.int32], extent: list[float], size: NDArray[np.int_]) -> NDArray[np.uint8]:
    """Where patches are (h, w), on a picture of the slide with its longer side at PICTURE_PX."""
    scale = PICTURE_PX / max(int(size.max()), 1)
    width, height = (max(1, round(float(side) * scale)) for side in size)
    mask = np.zeros((height, width), np.uint8)
    first = np.floor(corners * scale).astype(int).clip(0)
    last = np.ceil((corners + np.array(extent)) * scale).astype(int)
    for (left, top), (right, bottom) in zip(first, last, strict=True):
        mask[top:bottom, left:right] = 1
    return mask
