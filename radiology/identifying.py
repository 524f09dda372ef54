"""Which kinds of identifying data a volume's file holds: the kinds, never the data."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..wsi.dicom_files import is_dicom
from ..wsi.identifying import FREE_TEXT, dicom_kinds, text_kinds

TEXTS = {348: ((14, 18), (148, 80), (228, 24), (328, 16)), 540: ((240, 80), (320, 24), (508, 16))}
"""Offset and length of db_name, descrip, aux_file, intent_name, by the header's size (NIfTI-1, NIfTI-2)."""

DICOM_EXTENSION = 2
"""The code of a header extension that holds a DICOM header. Source: nifti1_io, NIFTI_ECODE_DICOM."""


def identifying_kinds_of_volume(path: Path) -> list[str]:
    """The kinds of identifying data in a NIfTI file or a DICOM file, sorted.

    Of a series one file is searched: all of them are of one patient. As for slides, absence is no proof.
    """
    return sorted(set(dicom_kinds(path) if is_dicom(path) else _nifti_kinds(path)))


def _nifti_kinds(path: Path) -> Iterator[str]:
    header = _start(path)
    size = next((n for n in TEXTS if header[:4] in (struct.pack("<i", n), struct.pack(">i", n))), 0)
    for offset, length in TEXTS.get(size, ()):
        yield from text_kinds(header[offset : offset + length].rstrip(b"\0"))
    if size and header[size : size + 1] == b"\1":
        order = "<" if header[:4] == struct.pack("<i", size) else ">"
        yield FREE_TEXT
        if header[size + 8 : size + 12] == struct.pack(f"{order}i", DICOM_EXTENSION):
            yield "a DICOM header"


def _start(path: Path) -> bytes:
    """The first 4 KiB, unpacked; nothing where they cannot be."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            return bytes(file.read(4096))
    except (OSError, EOFError, zlib.error):
        return b""
