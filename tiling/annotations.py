"""Regions drawn by people or found here, as GeoJSON the way QuPath reads and writes it.

Coordinates are level-0 px. Source: QuPath 0.5, "Exporting annotations", GeoJSON (RFC 7946) with the
class of an annotation under properties.classification.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadAnnotation
from .polygons import Polygon, fill, trace

TISSUE, IGNORE = "Tissue", "Ignore*"
COLOURS = {TISSUE: [0, 150, 0]}
GREY = [128, 128, 128]


@dataclass(frozen=True, eq=False)
class Annotation:
    """One region.

    Attributes:
        name: its class, as "Tumor"; empty where it has none.
        polygons: each an outline and its holes, in level-0 px.
    """

    name: str
    polygons: Sequence[Polygon]


def tissue_annotations(mask: NDArray[np.bool_], covers: tuple[int, ...]) -> list[Annotation]:
    """Each piece of a tissue mask (h, w) that spans `covers` level-0 px (x, y), as one annotation."""
    scale = np.array(covers[:2]) / mask.shape[::-1]
    return [Annotation(TISSUE, [[ring * scale for ring in polygon]]) for polygon in trace(mask)]


def corrected(
    mask: NDArray[np.bool_] | None, annotations: Sequence[Annotation], onto: Canvas
) -> NDArray[np.bool_]:
    """A mask (h, w) after what a person drew, who is always right.

    Regions of class Tissue take the mask's place. Regions of other classes, or of none, limit it to what
    lies within them. Regions of class Ignore* are taken out.

    Args:
        mask: found by a segmenter; None where `replaces` is true.
    """
    named = [annotation.name for annotation in annotations]
    limits = set(named) - {TISSUE, IGNORE}
    if mask is None:
        mask = onto.fill(annotations, {TISSUE})
    if limits:
        mask = mask & onto.fill(annotations, limits)
    return mask & ~onto.fill(annotations, {IGNORE})


def replaces(annotations: Iterable[Annotation]) -> bool:
    """Whether the annotations say where tissue is, so that no segmenter is needed."""
    return any(annotation.name == TISSUE for annotation in annotations)


@dataclass(frozen=True)
class Canvas:
    """Pixels that annotations are drawn on: (h, w), spanning `covers` level-0 px (x, y)."""

    shape: tuple[int, int]
    covers: tuple[int, ...]

    def fill(self, annotations: Iterable[Annotation], names: Iterable[str]) -> NDArray[np.bool_]:
        """The pixels (h, w) whose centres lie in a region of one of these classes."""
        scale = np.array(self.shape[::-1]) / self.covers[:2]
        chosen = (a for a in annotations if a.name in names)
        return fill(([ring * scale for ring in p] for a in chosen for p in a.polygons), self.shape)


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write GeoJSON that QuPath opens by dropping it on the slide; in one step."""
    features = ",\n".join(json.dumps(_feature(a), separators=(",", ":")) for a in annotations)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(f'{{"type":"FeatureCollection","features":[\n{features}\n]}}\n', encoding="utf-8")
    beside.replace(path)


def read_annotations(path: Path) -> list[Annotation]:
    """The regions of a GeoJSON file; points, lines, cells and detections are passed over.

    Raises:
        BadAnnotation: it is not GeoJSON, or holds no region.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        found = [_annotation(feature) for feature in _features(document)]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise BadAnnotation(f"{path.name} cannot be read as GeoJSON.", _EXPORT) from error
    regions = [annotation for annotation in found if annotation and annotation.polygons]
    if not regions:
        raise BadAnnotation(f"{path.name} holds no region.", _EXPORT)
    return regions


_EXPORT = "In QuPath: File, Export objects as GeoJSON, with annotations selected."


def _feature(annotation: Annotation) -> dict[str, Any]:
    rings = [[_closed(ring) for ring in polygon] for polygon in annotation.polygons]
    single = len(rings) == 1
    properties: dict[str, Any] = {"objectType": "annotation"}
    if annotation.name:
        colour = COLOURS.get(annotation.name, GREY)
        properties["classification"] = {"name": annotation.name, "color": colour}
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": rings[0] if single else rings,
        },
        "properties": properties,
    }


def _closed(ring: NDArray[np.float64]) -> list[list[float]]:
    corners: list[list[float]] = np.round(ring, 2).tolist()
    return [*corners, corners[0]]


def _features(document: Any) -> list[Any]:
    """The features of a FeatureCollection, a list of features, or a single one."""
    if isinstance(document, list):
        return document
    return list(document["features"]) if document["type"] == "FeatureCollection" else [document]


def _annotation(feature: dict[str, Any]) -> Annotation | None:
    geometry, properties = feature["geometry"] or {"type": ""}, feature.get("properties") or {}
    if properties.get("objectType", "annotation") != "annotation":
        return None
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        return None
    coordinates = geometry["coordinates"]
    many = [coordinates] if geometry["type"] == "Polygon" else coordinates
    polygons = [[_ring(ring) for ring in polygon] for polygon in many]
    return Annotation(_name(properties.get("classification")), polygons)


def _name(classification: Any) -> str:
    """The class: a name, or for a derived class its names joined as QuPath shows them."""
    if not classification:
        return ""
    return str(classification.get("name") or ": ".join(classification.get("names", [])))


def _ring(corners: Any) -> NDArray[np.float64]:
    ring = np.array([corner[:2] for corner in corners], np.float64)
    if len(ring) < 4 or not np.isfinite(ring).all():
        raise ValueError("a ring needs three corners and their repeated first")
    return ring[:-1]
