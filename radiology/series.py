"""Which files of a folder belong together: the slices of one DICOM series."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError, InputNotFound, UnsupportedFormat
from .header import SliceHeader, read_header


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
