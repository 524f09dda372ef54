"""Which files make up one slide."""

from __future__ import annotations

from pathlib import Path

from ..identity import How, content_identity, remote_identity
from .dicom_files import series_files
from .remote_bytes import RemoteBytes, unreachable


def identity_of(path: Path | str, kind: str, how: How = "fast") -> str:
    """The `content_identity` of the slide at a path; a URL is a str.

    Raises:
        InputNotFound, UnsupportedFormat: see `RemoteBytes`.
    """
    if isinstance(path, Path):
        return content_identity(files_of(path, kind), how)
    source = RemoteBytes(path)
    try:
        return remote_identity(source.size, source.read_many, how)
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
