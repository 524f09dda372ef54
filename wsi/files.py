"""Which files make up one slide."""

from __future__ import annotations

from pathlib import Path

from .dicom_files import series_files


def files_of(path: Path, kind: str) -> list[Path]:
    """Every file of the slide.

    Args:
        path: what the user named.
        kind: the slide's format; "dicom" and "mirax" slides have companion files.
    """
    if kind == "dicom":
        return series_files(path)
    if kind == "mirax":
        folder = path.with_suffix("")
        return [path, *sorted(file for file in folder.iterdir() if file.is_file())]
    return [path]
