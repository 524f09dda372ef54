"""Which files of a folder belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError, InputNotFound, UnsupportedFormat
from .header import SliceHeader, read_header


@dataclass(frozen=True)
class Series:
    """The files of one DICOM series, by name; `uid` groups them and is never shown."""

    uid: str = field(repr=False)
    paths: tuple[Path, ...]
    modality: str


def group_series(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """DICOM images by series, headers only; each list in the given order.

    Files that are no DICOM image are left out, and so are damaged ones: `open_volume` on one of the
    others names them.
    """
    groups: dict[str, list[Path]] = {}
    for path in paths:
        try:
            header = read_header(path)
        except InputError:
            continue
        if header is not None:
            groups.setdefault(header.series, []).append(path)
    return groups


def list_series(folder: Path) -> list[Series]:
    """The series of a folder (subfolders apart), by the name of their first file.

    Raises:
        InputNotFound: no such folder.
        Truncated: a file of the folder is DICOM and damaged, so that some series lacks a slice.
    """
    groups: dict[str, list[SliceHeader]] = {}
    for header in _headers(folder):
        groups.setdefault(header.series, []).append(header)
    return [Series(uid, tuple(h.path for h in group), group[0].modality) for uid, group in groups.items()]


def headers_of_series(path: Path) -> list[SliceHeader]:
    """The slices of the one series in a folder, or of the series that a file belongs to, by name.

    Raises:
        InputNotFound: nothing at `path`.
        UnsupportedFormat: no DICOM image there.
        InputError: the folder holds several series.
        Truncated: a DICOM file there is damaged.
    """
    if path.is_dir():
        return _only_series(path, _headers(path))
    chosen = read_header(path)
    if chosen is None:
        raise UnsupportedFormat(f"{path.name} is neither NIfTI (.nii, .nii.gz) nor a DICOM image.")
    return [header for header in _headers(path.parent) if header.series == chosen.series]


def _headers(folder: Path) -> list[SliceHeader]:
    if not folder.is_dir():
        raise InputNotFound(f"There is no folder {folder.name}.")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [header for header in map(read_header, files) if header is not None]


def _only_series(folder: Path, headers: list[SliceHeader]) -> list[SliceHeader]:
    first = {header.series: header.path.name for header in reversed(headers)}
    if not first:
        raise UnsupportedFormat(f"The folder {folder.name} holds no DICOM image.")
    if len(first) > 1:
        names = ", ".join(sorted(first.values())[:5])
        raise InputError(
            f"The folder {folder.name} holds {len(first)} series.",
            f"Name one file of the series you mean; the series begin with {names}.",
        )
    return headers
