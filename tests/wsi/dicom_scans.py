"""DICOM slides written frame by frame, in the ways that scanners and archives have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    generate_uid,
)
from scipy.ndimage import zoom

Pixels = NDArray[np.uint8]
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SYNTAXES = {
    "raw": ExplicitVRLittleEndian,
    "jpeg": JPEGBaseline8Bit,
    "jpeg2000": JPEG2000Lossless,
    "jpegls": JPEGLSLossless,
    "implicit": ImplicitVRLittleEndian,
}
RAW = ("raw", "implicit")
REDUCED = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")
LABEL = ("ORIGINAL", "PRIMARY", "LABEL", "NONE")
OVERVIEW = ("ORIGINAL", "PRIMARY", "OVERVIEW", "NONE")


@dataclass(frozen=True)
class Scan:
    """One instance.

    Attributes:
        tile: (width, height) of a frame in px.
        sparse: per-frame positions are written, else the frames are a full grid, row by row.
        places: (x, y) of the frames, zero-based level px; None for every tile of the grid.
        offsets: "basic", "extended" or "none": where the encapsulated frames are listed.
        extra: any other element, by keyword.
    """

    tile: tuple[int, int] = (64, 48)
    syntax: str = "raw"
    sparse: bool = False
    places: Sequence[tuple[int, int]] | None = None
    um: float = 0.5
    flavour: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
    series: str = "1.2.3.4"
    offsets: str = "basic"
    photometric: str = "RGB"
    extra: dict[str, object] = field(default_factory=dict)


def picture() -> Pixels:
    """Smooth enough for JPEG, different everywhere: uint8 (200, 300, 3)."""
    coarse = np.random.default_rng(1).integers(0, 256, (26, 39, 3)).astype(float)
    return zoom(coarse, (8, 8, 1), order=1)[:200, :300].clip(0, 255).astype(np.uint8)


def grid(size: tuple[int, int], tile: tuple[int, int]) -> list[tuple[int, int]]:
    """The corners of the tiles that cover a level, row by row."""
    return [(x, y) for y in range(0, size[1], tile[1]) for x in range(0, size[0], tile[0])]


def write(path: Path, pixels: Pixels, scan: Scan) -> Path:
    """An instance that shows `pixels`, uint8 (H, W, 3); what hangs over their edge is green."""
    height, width = pixels.shape[:2]
    places = list(scan.places if scan.places is not None else grid((width, height), scan.tile))
    frames = [_encode(_cut(pixels, place, scan.tile), scan) for place in places]
    header = _header((width, height), scan, len(frames))
    if scan.sparse:
        header.PerFrameFunctionalGroupsSequence = Items([_position(place) for place in places])
    for keyword, value in scan.extra.items():
        setattr(header, keyword, value)
    _store(header, frames, scan)
    header.save_as(path, enforce_file_format=True)
    return path


def write_parts(folder: Path, pixels: Pixels, scan: Scan, counts: Sequence[int]) -> list[Path]:
    """One level as a concatenation: so many frames in each instance."""
    height, width = pixels.shape[:2]
    places = list(scan.places if scan.places is not None else grid((width, height), scan.tile))
    assert sum(counts) == len(places)
    whole, first, paths = generate_uid(), 0, []
    for number, count in enumerate(counts):
        part = {
            "ConcatenationUID": whole,
            "SOPInstanceUIDOfConcatenationSource": whole,
            "InConcatenationNumber": number + 1,
            "InConcatenationTotalNumber": len(counts),
            "ConcatenationFrameOffsetNumber": first,
        }
        this = replace(scan, places=places[first : first + count], extra=scan.extra | part)
        paths.append(write(folder / f"part{number}.dcm", pixels, this))
        first += count
    return paths


def placed(path: Path, frames: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """What the instance shows, and where it has a frame: `frames` (N, h, w, 3) put at their positions."""
    from pydicom import dcmread

    header = dcmread(path)
    height, width = header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns
    shown = np.full((height, width, 3), 255, np.uint8)
    there = np.zeros((height, width), bool)
    for frame, groups in zip(frames, header.PerFrameFunctionalGroupsSequence, strict=True):
        at = groups.PlanePositionSlideSequence[0]
        x, y = at.ColumnPositionInTotalImagePixelMatrix - 1, at.RowPositionInTotalImagePixelMatrix - 1
        part = shown[y : y + header.Rows, x : x + header.Columns]
        part[:] = frame[: part.shape[0], : part.shape[1]]
        there[y : y + header.Rows, x : x + header.Columns] = True
    return shown, there


def _cut(pixels: Pixels, place: tuple[int, int], tile: tuple[int, int]) -> Pixels:
    (x, y), (width, height) = place, tile
    frame = np.full((height, width, pixels.shape[2]), 0, np.uint8)
    frame[..., 1] = 255
    part = pixels[y : y + height, x : x + width]
    frame[: part.shape[0], : part.shape[1]] = part
    return frame


def _encode(frame: Pixels, scan: Scan) -> bytes:
    if scan.syntax in RAW:
        return frame.tobytes()
    if scan.syntax == "jpegls":
        return bytes(imagecodecs.jpegls_encode(frame))
    if scan.syntax == "jpeg":
        colours = "rgb" if scan.photometric == "RGB" else "ycbcr"
        return bytes(imagecodecs.jpeg8_encode(frame, level=85, colorspace="rgb", outcolorspace=colours))
    return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True, mct=True))


def _header(size: tuple[int, int], scan: Scan, frames: int) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = SYNTAXES[scan.syntax]
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = WHOLE_SLIDE
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.SeriesInstanceUID = header.StudyInstanceUID = scan.series
    header.FrameOfReferenceUID = scan.series + ".1"
    header.Modality, header.ImageType = "SM", list(scan.flavour)
    header.PatientName, header.PatientID = "Doe^Jane", "canary"
    header.DimensionOrganizationType = "TILED_SPARSE" if scan.sparse else "TILED_FULL"
    header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows = size
    header.Columns, header.Rows = scan.tile
    header.NumberOfFrames, header.SamplesPerPixel, header.PlanarConfiguration = frames, 3, 0
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    header.PhotometricInterpretation = scan.photometric
    header.ImagedVolumeWidth, header.ImagedVolumeHeight = (side * scan.um / 1000 for side in size)
    header.NumberOfOpticalPaths, header.TotalPixelMatrixFocalPlanes = 1, 1
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [scan.um / 1000, scan.um / 1000], 0.001
    shared = Dataset()
    shared.PixelMeasuresSequence = Items([measures])
    header.SharedFunctionalGroupsSequence = Items([shared])
    return header


def _position(place: tuple[int, int]) -> Dataset:
    at = Dataset()
    at.ColumnPositionInTotalImagePixelMatrix, at.RowPositionInTotalImagePixelMatrix = (v + 1 for v in place)
    at.XOffsetInSlideCoordinateSystem = at.YOffsetInSlideCoordinateSystem = 0
    at.ZOffsetInSlideCoordinateSystem = 0
    groups = Dataset()
    groups.PlanePositionSlideSequence = Items([at])
    return groups


def _store(header: Dataset, frames: list[bytes], scan: Scan) -> None:
    if scan.syntax in RAW:
        data = b"".join(frames)
        header.PixelData = data + bytes(len(data) % 2)
        header["PixelData"].VR = "OW" if scan.syntax == "implicit" else "OB"
        return
    if scan.offsets == "extended":
        data, header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths = encapsulate_extended(frames)
        header.PixelData = data
    else:
        header.PixelData = encapsulate(frames, has_bot=scan.offsets == "basic")
    header["PixelData"].VR = "OB"
    header["PixelData"].is_undefined_length = True
