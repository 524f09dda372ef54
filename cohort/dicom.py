"""Telling DICOM series apart: the files of one series are one input, a slide or a volume."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TAGS = ["SeriesInstanceUID", "Modality", "ImageType"]


@dataclass(frozen=True)
class Series:
    """One series: the file to open, "slide" or "volume", and a name for it."""

    path: Path
    kind: str
    name: str


def is_dicom(path: Path) -> bool:
    """Whether the file starts as DICOM part 10 says: 128 bytes, then DICM."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def group_dicom(paths: Iterable[Path]) -> list[Series]:
    """One entry per series and folder; headers only are read.

    A microscopy series (modality SM) is named after the file that holds its full-resolution image.
    A radiology series is named after its folder where it is alone there, else after its first file.
    """
    groups: dict[tuple[Path, str], list[tuple[Path, str, bool]]] = {}
    for path in sorted(paths):
        series, modality, is_volume = _header(path)
        groups.setdefault((path.parent, series), []).append((path, modality, is_volume))
    folders = [folder for folder, _ in groups]
    return [_series(members, alone=folders.count(folder) == 1) for (folder, _), members in groups.items()]


def _series(members: list[tuple[Path, str, bool]], alone: bool) -> Series:
    path, modality, _ = members[0]
    if modality in ("SM", ""):
        path = next((p for p, _, is_volume in members if is_volume), path)
        return Series(path, "slide", path.stem)
    return Series(path, "volume", path.parent.name if alone and len(members) > 1 else path.stem)


def _header(path: Path) -> tuple[str, str, bool]:
    """(series, modality, is a full-resolution microscopy image); a bad header is its own series."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
        kind = [str(value) for value in header.get("ImageType") or []]
        series = str(header.get("SeriesInstanceUID") or path)
        return series, str(header.get("Modality") or ""), "VOLUME" in kind
    except (InvalidDicomError, OSError, ValueError, KeyError, EOFError, AttributeError, TypeError):
        return str(path), "", False  # the reader will say what is wrong with it
