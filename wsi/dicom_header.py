"""What one instance of a DICOM slide says of its pixels, and whether they are a bright-field picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Truncated, UnsupportedFormat
from .dicom_files import BROKEN_DICOM, Instance, read_tags
from .quiet import silent_pydicom
from .tiff_facts import BRIGHT_FIELD

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

LAST_TAG = 0x52009229
"""The groups that all frames share; those of single frames come next, and may be 100,000."""

TAGS = (
    "ConcatenationUID",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber",
    "DimensionOrganizationType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows",
    "NumberOfOpticalPaths",
    "TotalPixelMatrixFocalPlanes",
    "OpticalPathSequence",
    "SharedFunctionalGroupsSequence",
)


@dataclass(frozen=True)
class Header:
    """Of one level, or of a part of one.

    Attributes:
        instance: the file.
        size: (width, height) of the whole level in px.
        tile: (width, height) of a frame in px.
        frames: how many this file holds.
        full: they are a grid without gaps, row by row; else each says where it lies.
        syntax: the UID of how they are coded.
        photometric: what their samples mean, as DICOM calls it.
        planar: raw samples are stored as one plane per colour.
        samples, bits: per px, per sample.
        paths, planes: how many channels and focal planes the level has.
        mpp: (x, y) in µm per px of the level, None where it does not say.
        whole: what identifies the level, the same for all its parts.
        first: how many frames of the level the parts before this one hold.
        parts: how many parts the level has, 1 if it is whole.
        icc: the colour profile of its optical path, empty without one.
    """

    instance: Instance
    size: tuple[int, int]
    tile: tuple[int, int]
    frames: int
    full: bool
    syntax: str
    photometric: str
    planar: bool
    samples: int
    bits: int
    paths: int
    planes: int
    mpp: tuple[float | None, float | None]
    whole: str
    first: int
    parts: int
    icc: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> Path:
        return self.instance.path

    @property
    def tiles(self) -> int:
        """Tiles in the grid of the whole level."""
        return -(-self.size[0] // self.tile[0]) * -(-self.size[1] // self.tile[1])


def read_header(instance: Instance) -> Header:
    """The header of an instance.

    Raises:
        Truncated: it is damaged or lacks what every slide has.
        UnsupportedFormat: several channels, several focal planes, or pixels that are not 8-bit colours.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with silent_pydicom():
            header = _header(instance, read_tags(instance.path, TAGS, LAST_TAG))
    except (InvalidDicomError, BytesLengthException, *BROKEN_DICOM):
        header = None
    if header is None or min(*header.size, *header.tile, header.frames) < 1:
        raise Truncated("A DICOM slide whose header is damaged.", "Copy or export it again.")
    if problem := _problem(header):
        raise UnsupportedFormat(problem, BRIGHT_FIELD)
    return header


def _problem(header: Header) -> str | None:
    if (header.samples, header.bits) != (3, 8):
        found = f"{header.samples} x {header.bits} bits"
        return f"A DICOM slide with {found} per pixel, as of fluorescence; colours have 3 x 8."
    if header.paths > 1:
        return f"A DICOM slide with {header.paths} optical paths (channels)."
    if header.planes > 1:
        return f"A DICOM slide with {header.planes} focal planes."
    return None


def _header(instance: Instance, tags: FileDataset) -> Header:
    whole = str(tags.get("ConcatenationUID", "") or "")
    parts = _count(tags, "InConcatenationTotalNumber") or _count(tags, "InConcatenationNumber") or 1
    return Header(
        instance=instance,
        size=(_count(tags, "TotalPixelMatrixColumns"), _count(tags, "TotalPixelMatrixRows")),
        tile=(_count(tags, "Columns"), _count(tags, "Rows")),
        frames=_count(tags, "NumberOfFrames") or 1,
        full=tags.get("DimensionOrganizationType", "") == "TILED_FULL",
        syntax=str(tags.file_meta.get("TransferSyntaxUID", "")),
        photometric=str(tags.get("PhotometricInterpretation", "")),
        planar=_count(tags, "PlanarConfiguration") == 1,
        samples=_count(tags, "SamplesPerPixel"),
        bits=_count(tags, "BitsAllocated"),
        paths=_count(tags, "NumberOfOpticalPaths"),
        planes=_count(tags, "TotalPixelMatrixFocalPlanes"),
        mpp=_mpp(tags),
        whole=whole or instance.instance,
        first=_count(tags, "ConcatenationFrameOffsetNumber") if whole else 0,
        parts=parts if whole else 1,
        icc=_profile(tags),
    )


def _profile(tags: Dataset) -> bytes:
    light = tags.get("OpticalPathSequence", None)
    return bytes(light[0].get("ICCProfile", b"") or b"") if light else b""


def _count(tags: Dataset, keyword: str) -> int:
    value: Any = tags.get(keyword, None)
    return int(value) if value else 0


def _mpp(tags: Dataset) -> tuple[float | None, float | None]:
    """DICOM gives mm, and the distance of rows, which is y, first."""
    shared = tags.get("SharedFunctionalGroupsSequence", None)
    measures = shared[0].get("PixelMeasuresSequence", None) if shared else None
    spacing = measures[0].get("PixelSpacing", None) if measures else None
    if not spacing or len(spacing) != 2:
        return None, None
    return float(spacing[1]) * 1000, float(spacing[0]) * 1000
