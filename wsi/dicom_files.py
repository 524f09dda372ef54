"""DICOM slides are folders of instances: which belong together, and which are no slides at all.

A few elements near the beginning of each header are read, and nothing about the patient. None of the
identifiers leaves this module and `dicom_header`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnsupportedFormat
from .quiet import silent_pydicom

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
RADIOLOGY = frozenset({"CR", "CT", "DX", "MG", "MR", "NM", "PT", "RF", "RTDOSE", "US", "XA"})
OTHERS = {
    "ANN": "annotations",
    "SEG": "a segmentation",
    "SR": "a report",
    "PR": "a presentation state",
    "DOC": "a document",
    "KO": "a selection of images",
}
"""Modalities that lie beside slides and refer to them."""

BROKEN_DICOM = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    struct.error,
    RecursionError,
)
"""What pydicom lets through from damaged headers beside its own exceptions."""

TAGS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType")
LAST_TAG = 0x00480007
"""The rows of a whole slide: nothing behind it is looked at here, least of all a list of 100,000 frames."""

SETTLED_NS = 2_000_000_000

COPY_ALL = "Copy the whole series into one folder."


@dataclass(frozen=True)
class Instance:
    """One DICOM file, by its few facts.

    Attributes:
        flavour: the third value of its image type: VOLUME for a level of a slide, else LABEL, OVERVIEW,
            THUMBNAIL; empty where it does not say.
        resampled: by its image type it was made from a finer level.
        pixels: of the whole level, 0 where it is none.
    """

    path: Path
    series: str
    instance: str
    modality: str
    whole_slide: bool
    flavour: str
    resampled: bool
    pixels: int

    @property
    def volume(self) -> bool:
        """Whether it is a level of a slide, or a part of one."""
        return self.whole_slide and self.flavour == "VOLUME"


def is_dicom(path: Path) -> bool:
    """Whether the file has the DICOM preamble."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_instance(path: Path) -> Instance | None:
    """The facts of one file from its header alone; None if it is not DICOM or too damaged.

    They are remembered while the file stays as it is: in a folder of 1,000 slides every one of them is
    opened with all the others beside it. A file written just now may change without its time showing it.
    """
    try:
        state = path.stat()
    except OSError:
        return None
    if time.time_ns() - state.st_mtime_ns < SETTLED_NS:
        return _read(path)
    return _remembered(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=1 << 16)
def _remembered(path: Path, _state: tuple[int, int, int]) -> Instance | None:
    return _read(path)


def _read(path: Path) -> Instance | None:
    from pydicom.errors import BytesLengthException, InvalidDicomError

    tags = (*TAGS, "TotalPixelMatrixColumns", "TotalPixelMatrixRows")
    try:
        with silent_pydicom():
            return _instance(path, read_tags(path, tags, LAST_TAG))
    except (InvalidDicomError, BytesLengthException, *BROKEN_DICOM):
        return None


def read_tags(path: Path, keywords: Iterable[str], last: int) -> FileDataset:
    """The elements with these keywords, of those up to the tag `last`.

    Raises:
        InvalidDicomError, BytesLengthException, BROKEN_DICOM: the header is damaged.
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    with open(path, "rb") as file:
        return read_partial(
            file, lambda tag, _vr, _length: tag > last, specific_tags=[Tag(word) for word in keywords]
        )


def _instance(path: Path, header: FileDataset) -> Instance:
    kinds = [str(kind) for kind in header.get("ImageType", None) or []]
    columns, rows = header.get("TotalPixelMatrixColumns"), header.get("TotalPixelMatrixRows")
    classes = header.get("SOPClassUID", ""), header.file_meta.get("MediaStorageSOPClassUID", "")
    return Instance(
        path=path,
        series=str(header.get("SeriesInstanceUID", "")),
        instance=str(header.get("SOPInstanceUID", "")),
        modality=str(header.get("Modality", "")),
        whole_slide=WHOLE_SLIDE in map(str, classes),
        flavour=kinds[2] if len(kinds) > 2 else "",
        resampled="RESAMPLED" in kinds[3:4],
        pixels=int(columns or 0) * int(rows or 0),
    )


def instances_in(folder: Path) -> list[Instance]:
    """Every DICOM file directly in the folder, by name."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return [found for found in map(read_instance, files) if found]


def levels_of(path: Path) -> list[Instance]:
    """The files that hold the pyramid of the slide that `path`, one of its instances, belongs to.

    In the order of their instance identifiers, each once: renaming or copying a file changes nothing.
    Labels, overviews and thumbnails are left out. Empty where `path` is of no slide.
    """
    this = read_instance(path)
    if this is None or not this.whole_slide:
        return []
    beside = instances_in(path.parent) if this.series else [this]
    distinct = {
        other.instance: other for other in [*beside, this] if other.series == this.series and other.volume
    }
    return sorted(distinct.values(), key=lambda member: member.instance)


def series_files(path: Path) -> list[Path]:
    """The files of the slide that `path` (one instance, or a folder of one slide) belongs to.

    As `levels_of`; `path` itself where that is empty.
    """
    path = volume_in(path) if path.is_dir() else path
    return [member.path for member in levels_of(path)] or [path]


def finest(members: Iterable[Instance]) -> Instance | None:
    """The first instance of the finest level among the instances of a slide, None without a level."""
    levels = sorted((member for member in members if member.volume), key=lambda member: member.path)
    return max(levels, key=lambda member: member.pixels, default=None)


def volume_in(folder: Path) -> Path:
    """The finest level of the one slide in a folder.

    Raises:
        UnsupportedFormat: no slide in it, more than one, or a radiology series.
    """
    instances = instances_in(folder)
    volumes = [found for found in instances if found.volume]
    found = finest(volumes)
    if not found and instances:
        raise not_a_slide(instances[0])
    if not found:
        raise UnsupportedFormat("A folder without a DICOM slide.", "Name the slide files in it.")
    if len({member.series for member in volumes}) > 1:
        raise UnsupportedFormat(
            "A folder with several DICOM slides.", "Name one instance of the slide wanted."
        )
    return found.path


def not_a_slide(found: Instance) -> UnsupportedFormat:
    """The error for a DICOM file that belongs to no slide."""
    if found.modality in RADIOLOGY:
        return UnsupportedFormat(
            f"A DICOM {found.modality} image: a radiology series, not a slide.",
            "Give the folder of the series as a volume.",
        )
    if found.whole_slide:
        kind = found.flavour.lower() if found.flavour in ("LABEL", "OVERVIEW", "THUMBNAIL") else "other"
        return UnsupportedFormat(f"The {kind} image of a DICOM slide, without the slide itself.", COPY_ALL)
    kind = OTHERS.get(found.modality, "some other kind of image")
    return UnsupportedFormat(
        f"A DICOM file that is no whole-slide image but {kind}.", "Leave it out, or give the slide itself."
    )
