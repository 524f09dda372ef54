"""Telling DICOM series apart: the files of one series are one input, a slide or a volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..wsi.dicom_files import RADIOLOGY, Instance, finest, instances_in, read_instance


@dataclass(frozen=True)
class Series:
    """One series: the file to open, "slide" or "volume", and a name for it."""

    path: Path
    kind: str
    name: str


def group_dicom(paths: Iterable[Path]) -> list[Series]:
    """One entry per series and folder; headers only are read.

    A microscopy series is named after the first file that holds its finest level. A radiology
    series is named after its folder where it is alone there, else after its first file. A file
    with a damaged header is an input of its own: opening it says what is wrong. A directory of other
    files (DICOMDIR) belongs to no series and is left out.
    """
    groups: dict[tuple[Path, str], list[Instance]] = {}
    damaged = []
    for path in sorted(paths):
        found = read_instance(path)
        if found is None:
            damaged.append(Series(path, "slide", path.stem))
        elif found.series:
            groups.setdefault((path.parent, found.series), []).append(found)
    folders = [folder for folder, _ in groups]
    return damaged + [_series(group, folders.count(folder) == 1) for (folder, _), group in groups.items()]


def kind_of_folder(folder: Path) -> str:
    """What the DICOM files directly in a folder are: "slide" or "volume"."""
    return "slide" if any(found.whole_slide for found in instances_in(folder)) else "volume"


def _series(members: Sequence[Instance], alone: bool) -> Series:
    if members[0].modality not in RADIOLOGY:
        path = (finest(members) or members[0]).path
        return Series(path, "slide", path.stem)
    path = members[0].path
    return Series(path, "volume", path.parent.name if alone and len(members) > 1 else path.stem)
