"""Which kinds of identifying data a slide file holds: the kinds, never the data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import openslide

from .dicom_files import BROKEN_DICOM, is_dicom
from .quiet import silent_pydicom

DICOM_KINDS = {
    "patient name": ("PatientName",),
    "patient id": ("PatientID", "OtherPatientIDs", "IssuerOfPatientID"),
    "birth date": ("PatientBirthDate",),
    "patient sex or age": ("PatientSex", "PatientAge"),
    "accession or specimen number": ("AccessionNumber", "ContainerIdentifier", "StudyID"),
    "dates": ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime"),
    "names of staff": ("ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName"),
    "institution": ("InstitutionName", "InstitutionAddress", "StationName"),
    "free text": ("StudyDescription", "SeriesDescription", "ImageComments", "PatientComments"),
}
"""DICOM elements by kind; after the basic profile of DICOM PS3.15, annex E."""

PROPERTY_KINDS = {
    "dates": re.compile(r"date|time(?!r)", re.IGNORECASE),
    "names of staff": re.compile(r"\b(user|operator|artist|owner)\b", re.IGNORECASE),
    "patient or case": re.compile(
        r"patient|case|accession|specimen|barcode|slide[ _]?(id|label)", re.IGNORECASE
    ),
    "original file name": re.compile(r"\b(file ?name|image ?id|title|document ?name)\b", re.IGNORECASE),
    "computer name": re.compile(r"host|computer|scanscope id|serial", re.IGNORECASE),
}
"""Names of header fields by kind."""

FREE_TEXT = frozenset({"openslide.comment", "tiff.ImageDescription"})
PICTURES = {"label": "label image", "macro": "macro image"}


def identifying_kinds(path: Path) -> list[str]:
    """The kinds of identifying data in a slide file, sorted; its name on disk is not looked at.

    What OpenSlide cannot open is searched only if it is DICOM. The absence of a kind is no proof:
    free text may hold anything, and is always reported.
    """
    kinds = set(_dicom_kinds(path)) if is_dicom(path) else set()
    try:
        with openslide.OpenSlide(path) as slide:
            kinds |= {PICTURES[name] for name in slide.associated_images if name in PICTURES}
            kinds |= set(_property_kinds(slide.properties))
    except openslide.OpenSlideError:
        pass  # not a slide: the caller says so
    return sorted(kinds)


def _property_kinds(properties: Iterable[str]) -> Iterator[str]:
    for key in properties:
        if key in FREE_TEXT:
            yield "free text"
        if not key.startswith("openslide."):
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key.replace("_", " "))
            yield from (kind for kind, pattern in PROPERTY_KINDS.items() if pattern.search(words))


def _dicom_kinds(path: Path) -> Iterator[str]:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    names = [name for group in DICOM_KINDS.values() for name in group]
    try:
        with silent_pydicom():
            header = dcmread(path, stop_before_pixels=True, specific_tags=names)
            held = {name for name in names if str(header.get(name, "") or "").strip()}
    except (InvalidDicomError, *BROKEN_DICOM):
        return
    yield from (kind for kind, group in DICOM_KINDS.items() if held & set(group))
