"""DICOM slides are folders of instances: which belong together, and which are no slides at all.

Only four header elements are ever read: class, modality, image type and the series' and
instance's identifiers. None of the identifiers leaves this module.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnsupportedFormat
from .quiet import silent_pydicom

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
RADIOLOGY = frozenset({"CR", "CT", "DX", "MG", "MR", "NM", "PT", "RF", "RTDOSE", "US", "XA"})
BROKEN_DICOM = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    struct.error,
)
"""What pydicom lets through from damaged headers beside its own exceptions."""


@dataclass(frozen=True)
class Instance:
    """One DICOM file, by its few facts."""

    path: Path
    series: str
    instance: str
    modality: str
    whole_slide: bool
    volume: bool


def is_dicom(path: Path) -> bool:
    """Whether the file has the DICOM preamble."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_instance(path: Path) -> Instance | None:
    """The facts of one file from its header alone; None if it is not DICOM or too damaged."""
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    tags = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType"]
    try:
        with silent_pydicom():
            header = dcmread(path, stop_before_pixels=True, specific_tags=tags)
            kinds = [str(kind) for kind in header.get("ImageType", None) or []]
            return Instance(
                path=path,
                series=str(header.get("SeriesInstanceUID", "")),
                instance=str(header.get("SOPInstanceUID", "")),
                modality=str(header.get("Modality", "")),
                whole_slide=str(header.get("SOPClassUID", "")) == WHOLE_SLIDE,
                volume="VOLUME" in kinds[2:3],
            )
    except (InvalidDicomError, BytesLengthException, *BROKEN_DICOM):
        return None


def instances_in(folder: Path) -> list[Instance]:
    """Every DICOM file directly in the folder, by name."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and is_dicom(file))
    return [found for found in map(read_instance, files) if found]


def series_files(path: Path) -> list[Path]:
    """The files of the slide that `path` (one instance, or a folder of one slide) belongs to.

    In the order of their instance identifiers: renaming a file changes nothing.
    """
    path = volume_in(path) if path.is_dir() else path
    this = read_instance(path)
    if this is None or not this.series:
        return [path]
    members = [other for other in instances_in(path.parent) if other.series == this.series]
    return [member.path for member in sorted(members, key=lambda member: member.instance)] or [path]


def volume_in(folder: Path) -> Path:
    """The first VOLUME instance of the one slide in a folder.

    Raises:
        UnsupportedFormat: no slide in it, more than one, or a radiology series.
    """
    instances = instances_in(folder)
    volumes = [found for found in instances if found.whole_slide and found.volume]
    if not volumes and instances:
        raise not_a_slide(instances[0])
    if not volumes:
        raise UnsupportedFormat("A folder without a DICOM slide.", "Name the slide files in it.")
    if len({found.series for found in volumes}) > 1:
        raise UnsupportedFormat(
            "A folder with several DICOM slides.", "Name one instance of the slide wanted."
        )
    return volumes[0].path


def not_a_slide(found: Instance) -> UnsupportedFormat:
    """The error for a DICOM file that OpenSlide does not read."""
    if found.modality in RADIOLOGY:
        return UnsupportedFormat(
            f"A DICOM {found.modality} image: a radiology series, not a slide.",
            "Give the folder of the series as a volume.",
        )
    if found.whole_slide:
        return UnsupportedFormat(
            "A DICOM slide that OpenSlide cannot decode.", "Convert it to JPEG or JPEG 2000 transfer syntax."
        )
    return UnsupportedFormat("A DICOM file that is not a whole-slide image.")
