"""Which files make up one slide."""

from __future__ import annotations

from pathlib import Path

from ..identity import content_identity, sampled_identity
from .dicom_files import series_files
from .remote_bytes import RemoteBytes, unreachable


def identity_of(path: Path | str, kind: str) -> str:
    """Hex sha256 of the content of the slide at a path, or of parts of it at a URL (a str).

    Raises:
        InputNotFound, UnsupportedFormat: see `RemoteBytes`.
    """
    if isinstance(path, Path):
        return content_identity(files_of(path, kind))
    source = RemoteBytes(path)
    try:
        return sampled_identity(source.size, source.read_many)
    except OSError:
        raise unreachable(path) from None


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
