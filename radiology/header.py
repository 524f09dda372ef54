"""What one DICOM file says about its slice; pixels and everything about the patient stay unread."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from ..errors import InputNotFound, Truncated

TAGS = [
    "SeriesInstanceUID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsStored",
    "PixelRepresentation",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
]

PARSE_ERRORS = (
    InvalidDicomError,
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises on damaged files, a wide net as its parser trusts lengths and value types."""


@dataclass(frozen=True)
class SliceHeader:
    """The facts a slice is placed and decoded by; None where the file does not say.

    Attributes:
        series: groups files; never shown, as it identifies a study.
        position, orientation: ImagePositionPatient (x, y, z) in mm and the row and column
            direction cosines, LPS axes.
        pixel_spacing: (between rows, between columns) in mm: DICOM's own order, y first.
    """

    path: Path
    series: str = field(repr=False)
    modality: str
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits: int
    signed: bool
    syntax: str
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    thickness: float | None
    slope: float | None
    intercept: float | None
    has_lookup: bool


def read_header(path: Path) -> SliceHeader | None:
    """The header of a DICOM image.

    Returns:
        None for any other file: without the DICOM magic bytes, or without rows and columns
        (directories, reports, annotations).

    Raises:
        InputNotFound: no such file.
        Truncated: a DICOM file whose header cannot be parsed; its values are not quoted.
    """
    try:
        if not _has_magic(path):
            return None
    except OSError:
        raise InputNotFound(f"There is no readable file {path.name}.") from None
    try:
        tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
        if all(keyword in tags for keyword in ("SeriesInstanceUID", "Rows", "Columns")):
            return _slice_header(path, tags)
        if not _should_be_image(tags):
            return None
    except PARSE_ERRORS:
        pass
    raise Truncated(f"The DICOM header of {path.name} is damaged.", "Copy or export it again.")


def _has_magic(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _should_be_image(tags: pydicom.Dataset) -> bool:
    """Whether a file without rows and columns is a cut image, not a directory, report or the like."""
    storage = tags.file_meta.get("MediaStorageSOPClassUID")
    return storage is None or "Image Storage" in storage.name


def _slice_header(path: Path, tags: pydicom.Dataset) -> SliceHeader:
    modality = str(tags.get("Modality", ""))
    return SliceHeader(
        path=path,
        series=_raw_text(tags, "SeriesInstanceUID"),
        # a code string is at most a few capitals: anything else is not worth showing
        modality=modality if re.fullmatch(r"[A-Z]{2,8}", modality) else "unknown",
        rows=int(tags.Rows),
        columns=int(tags.Columns),
        frames=int(tags.get("NumberOfFrames") or 1),
        samples=int(tags.get("SamplesPerPixel") or 1),
        photometric=str(tags.get("PhotometricInterpretation", "")),
        bits=int(tags.get("BitsStored") or 0),
        signed=bool(tags.get("PixelRepresentation") or 0),
        syntax=str(tags.file_meta.get("TransferSyntaxUID", "")),
        position=_numbers(tags, "ImagePositionPatient", 3),
        orientation=_numbers(tags, "ImageOrientationPatient", 6),
        pixel_spacing=_numbers(tags, "PixelSpacing", 2),
        thickness=_number(tags, "SliceThickness"),
        slope=_number(tags, "RescaleSlope"),
        intercept=_number(tags, "RescaleIntercept"),
        has_lookup="ModalityLUTSequence" in tags,
    )


def _raw_text(tags: pydicom.Dataset, keyword: str) -> str:
    """A value as stored: were it parsed, pydicom would quote an invalid one in a warning."""
    return bytes(tags.get_item(keyword).value or b"").decode("latin-1").rstrip("\0 ")


def _numbers(tags: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    value: Any = tags.get(keyword)
    if not isinstance(value, list | pydicom.multival.MultiValue) or len(value) != count:
        return None
    return tuple(float(v) for v in value)


def _number(tags: pydicom.Dataset, keyword: str) -> float | None:
    value: Any = tags.get(keyword)
    return None if value is None or value == "" else float(value)
