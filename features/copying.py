"""A second store with the same arrays, for another slide of the same content."""

from __future__ import annotations

import json
from pathlib import Path

from . import disk
from .writer import beside_of, digest_of, put_in_place


def copy_store(original: Path, place: Path, slide_id: str) -> None:
    """Write at `place` the store that computing the slide would have given, from a whole store.

    Raises:
        DiskFull: there is no room for it; nothing is left in place.
    """
    beside = beside_of(place)
    with disk.full_disk_named(place):
        disk.remove_tree(beside)
        for path in sorted(original.rglob("*")):
            if path.is_file() and path.parent != original:
                disk.copy_file(path, beside / path.relative_to(original))
        group = json.loads((original / "zarr.json").read_text())
        arrays = {path.parent.name: json.loads(path.read_text()) for path in beside.glob("*/zarr.json")}
        group["attributes"]["slide_id"] = slide_id
        group["attributes"]["metadata_sha256"] = digest_of(group, arrays)
        put_in_place(beside, place, group)
