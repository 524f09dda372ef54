"""Which kinds of identifying data a slide file holds: the kinds, never the data."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import openslide
from openslide import PROPERTY_NAME_VENDOR as VENDOR
from PIL import ExifTags, Image

from .dicom_files import BROKEN_DICOM, is_dicom
from .quiet import silent_pillow, silent_pydicom, silent_tifffile
from .tiff_facts import BROKEN_TIFF, MAX_PAGES

FREE_TEXT, DATES, STAFF, PRIVATE = "free text", "dates", "names of staff", "private fields"

DICOM_KINDS = {
    "patient name": ("PatientName", "OtherPatientNames", "PatientBirthName"),
    "patient id": ("PatientID", "OtherPatientIDs", "IssuerOfPatientID"),
    "birth date": ("PatientBirthDate",),
    "patient sex or age": ("PatientSex", "PatientAge"),
    "accession or specimen number": (
        "AccessionNumber",
        "ContainerIdentifier",
        "SpecimenIdentifier",
        "StudyID",
    ),
    "institution": ("InstitutionName", "InstitutionAddress", "StationName"),
    FREE_TEXT: ("StudyDescription", "SeriesDescription", "ImageComments", "PatientComments"),
}
"""DICOM elements by kind; after the basic profile of DICOM PS3.15, annex E. Dates and names of persons
are known by their value representation."""

FIELD_KINDS = {
    DATES: re.compile(r"date|time(?!r)", re.IGNORECASE),
    STAFF: re.compile(r"\b(user|operator|artist|author|owner|experimenter)\b", re.IGNORECASE),
    "patient or case": re.compile(
        r"patient|case|accession|specimen|barcode|slide[ _]?(id|label)", re.IGNORECASE
    ),
    "original file name": re.compile(r"\b(file ?name|image ?id|title|document ?name)\b", re.IGNORECASE),
    "computer name": re.compile(r"host|computer|scanscope id|serial", re.IGNORECASE),
}
"""Names of header fields by kind."""

FIELD = re.compile(r"(?:^|[|\r\n])\s*([^|=\r\n]{1,40}?)\s*=|<\s*([\w:]{1,40})|\s([\w:]{1,40})=[\"']")
"""Names of fields in a description: `name = value` in lines or between bars, XML elements, attributes."""

DATE = re.compile(r"\b(?:\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|\d{4}[-:/]\d{2}[-:/]\d{2}|(?:19|20)\d{6})\b")

TIFF_TEXT = frozenset({270, 700})
"""ImageDescription and XMP."""

FIRST_PRIVATE_TAG = 65000

PICTURES = {"label": "label image", "macro": "macro image"}
NOT_TEXT = frozenset(
    {"exif", "icc_profile", "dpi", "gamma", "jfif", "jfif_density", "jfif_unit", "jfif_version"}
)


def identifying_kinds(path: Path) -> list[str]:
    """The kinds of identifying data in a slide file or picture, sorted; its name on disk is not looked at.

    The absence of a kind is no proof: free text may hold anything, and is always reported. A file too
    damaged to be searched has none.
    """
    searches = [_openslide_kinds, _tiff_kinds, _picture_kinds]
    if is_dicom(path):
        searches = [_openslide_kinds, dicom_kinds]
    return sorted({kind for search in searches for kind in search(path)})


def _openslide_kinds(path: Path) -> Iterator[str]:
    try:
        with openslide.OpenSlide(path) as slide:
            found = [PICTURES[name] for name in slide.associated_images if name in PICTURES]
            known = dict(slide.properties) if slide.properties.get(VENDOR) != "dicom" else {}
            filled = [key for key, value in known.items() if value.strip() and "openslide." not in key]
    except openslide.OpenSlideError:
        return  # not a slide: the caller says so
    yield from found
    yield from _field_kinds(filled)


def _tiff_kinds(path: Path) -> Iterator[str]:
    from tifffile import TiffFile

    try:
        with silent_tifffile(), TiffFile(path) as tiff:
            pages = list(itertools.islice(tiff.pages, MAX_PAGES))
            tags = [tag for page in pages for tag in getattr(page, "tags", ())]
            found = {kind for tag in tags for kind in _tag_kinds(tag)}
    except BROKEN_TIFF:
        return
    yield from found


def _tag_kinds(tag: Any) -> Iterator[str]:
    if tag.code in TIFF_TEXT:
        yield from text_kinds(tag.value)
    elif tag.code >= FIRST_PRIVATE_TAG and isinstance(tag.value, str | bytes):
        yield PRIVATE
    elif isinstance(tag.value, str | dict):
        yield from _field_kinds([tag.name])


def _picture_kinds(path: Path) -> Iterator[str]:
    """Of PNG and JPEG: comments, text chunks and EXIF."""
    try:
        with silent_pillow(), Image.open(path, formats=("PNG", "JPEG")) as picture:
            exif = picture.getexif()
            fields = [ExifTags.TAGS.get(code, "") for code in [*exif, *exif.get_ifd(ExifTags.IFD.Exif)]]
            texts = {key: value for key, value in picture.info.items() if key not in NOT_TEXT}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return
    yield from _field_kinds([*fields, *(str(key) for key in texts)])
    for value in texts.values():
        yield from text_kinds(value) if isinstance(value, str | bytes) else ()


def text_kinds(text: str | bytes) -> Iterator[str]:
    """The kinds that a text is sure or likely to hold, judged by the names of its fields and by dates."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if text.strip("\0 \r\n"):
        yield FREE_TEXT
        yield from _field_kinds(name for found in FIELD.finditer(text) for name in found.groups() if name)
        yield from [DATES] if DATE.search(text) else []


def _field_kinds(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("_", " "))
        yield from (kind for kind, pattern in FIELD_KINDS.items() if pattern.search(words))


def dicom_kinds(path: Path) -> Iterator[str]:
    """Of one DICOM file: elements of its header at any depth that hold something."""
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with silent_pydicom():
            header = dcmread(path, stop_before_pixels=True)
            held = [element for element in header.iterall() if not element.is_empty]
            found = {kind for element in held for kind in _element_kinds(element)}
    except (InvalidDicomError, BytesLengthException, *BROKEN_DICOM):
        return
    yield from found


def _element_kinds(element: Any) -> Iterator[str]:
    known = [kind for kind, names in DICOM_KINDS.items() if element.keyword in names]
    if element.tag.is_private:
        yield PRIVATE
    elif known or element.VR in ("DA", "DT", "PN"):
        yield from known or [STAFF if element.VR == "PN" else DATES]
    elif element.keyword == "BurnedInAnnotation" and element.value == "YES":
        yield "text in the pixels"
    elif element.keyword == "ImageType" and "LABEL" in element.value:
        yield PICTURES["label"]
