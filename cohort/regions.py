"""Regions that a person drew on slides: which file belongs to which slide, and what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..tiling.annotations import IGNORE, TISSUE, Annotation, read_annotations
from .config import RunConfig
from .inputs import Input

SUFFIXES = (".geojson", ".json")


def regions_file(roi: str, item: Input) -> Path | None:
    """The GeoJSON of a slide: the file itself, or in a folder the one named after the slide or its file."""
    if not roi or item.kind != "slide":
        return None
    path, slide = Path(roi), Path(item.path)
    if not path.is_dir():
        return path
    names = (item.slide_id, slide.name, slide.stem)
    return next((path / (n + s) for n in names for s in SUFFIXES if (path / (n + s)).is_file()), None)


def check_regions(roi: str, inputs: Sequence[Input]) -> None:
    """Check that a file is for one slide, and that a folder has a file for one at least.

    Raises:
        UsageError: it does not.
    """
    slides = [item for item in inputs if item.kind == "slide"]
    if not roi:
        return
    if not Path(roi).exists():
        raise UsageError(f"There is no {roi}.", "Give --roi a GeoJSON file or a folder of them.")
    if Path(roi).is_file() and len(slides) != 1:
        raise UsageError(
            f"{roi} is one file, but there are {len(slides)} slides.",
            "Give a folder with one GeoJSON file per slide, named after it.",
        )
    if not any(regions_file(roi, item) for item in slides):
        raise UsageError(
            f"No GeoJSON file in {roi} is named after a slide.",
            f"Name them SLIDE{SUFFIXES[0]}, as {slides[0].slide_id if slides else 'a'}{SUFFIXES[0]}.",
        )


def regions_of(roi: str, roi_class: str, item: Input) -> list[Annotation]:
    """What was drawn on a slide; with a class, of the regions that limit tissue only those of that class.

    Raises:
        BadAnnotation: its file is no GeoJSON with regions.
    """
    path = regions_file(roi, item)
    drawn = read_annotations(path) if path else []
    return [a for a in drawn if not roi_class or a.name in (roi_class, TISSUE, IGNORE)]


def tissue_attributes(config: RunConfig, item: Input) -> dict[str, Any]:
    """What a store records of how its patches were chosen: tissue, digest of what a person drew, rules."""
    if item.kind != "slide":
        return {"tissue": None, "regions": None, "rules": None}
    path = regions_file(config.roi, item)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
    return {
        "tissue": config.tissue.to_dict(),
        "regions": {"sha256": digest, "class": config.roi_class} if path else None,
        "rules": config.quality.to_dict(),
    }
