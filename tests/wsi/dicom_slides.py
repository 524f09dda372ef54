"""Small DICOM slides, one instance per level, in every way that frames are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, generate_uid

from . import jpeg_slides as js

Pixels = NDArray[np.uint8]
TILES = js.Layout(tile=128)
SYNTAX = {"raw": ExplicitVRLittleEndian, "jpeg": JPEGBaseline8Bit, "jpeg2000": JPEG2000Lossless}


@dataclass(frozen=True)
class Layout:
    """`offsets` is the kind of table: "basic", "extended" or "none"; `pieces` the items of every frame."""

    syntax: str = "jpeg"
    jpeg: js.Layout = TILES
    offsets: str = "basic"
    pieces: int = 1

    @property
    def colours(self) -> str:
        """The photometric interpretation."""
        return "YBR_FULL_422" if self.syntax == "jpeg" and self.jpeg.colours == "ycbcr" else "RGB"


def write(folder: Path, levels: list[Pixels], how: Layout, **elements: Any) -> Path:
    """The instances of one series, level 0 at 0.5 µm per px; returns the file of level 0.

    Names sort the other way round than levels do. `elements` are set in every header.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series, last = generate_uid(), len(levels) - 1
    for number, pixels in enumerate(levels):
        header = _header(pixels, how, 0.5e-3 * levels[0].shape[1] / pixels.shape[1])
        header.SeriesInstanceUID = header.FrameOfReferenceUID = series
        header.ImageType = ["ORIGINAL" if not number else "DERIVED", "PRIMARY", "VOLUME", "NONE"]
        _store(header, frames(pixels, how), how)
        for name, value in elements.items():
            setattr(header, name, value)
        header.save_as(folder / f"{last - number}.dcm", enforce_file_format=True)
    return folder / f"{last}.dcm"


def frames(pixels: Pixels, how: Layout) -> list[bytes]:
    """Every tile as it is stored."""
    tiles = js.tiles(pixels, how.jpeg.tile)
    if how.syntax == "raw":
        return [tile.tobytes() for tile in tiles]
    if how.syntax == "jpeg2000":
        return [bytes(imagecodecs.jpeg2k_encode(tile, codecformat="j2k", reversible=True)) for tile in tiles]
    return [js.encode(tile, how.jpeg) for tile in tiles]


def _store(header: pydicom.Dataset, stored: list[bytes], how: Layout) -> None:
    header.NumberOfFrames = len(stored)
    if how.syntax == "raw":
        header.PixelData = b"".join(stored)
        return
    if how.offsets == "extended":
        header.PixelData, header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths = (
            encapsulate_extended(stored)
        )
    else:
        header.PixelData = encapsulate(stored, how.pieces, has_bot=how.offsets == "basic")
    header["PixelData"].is_undefined_length = True


def _header(pixels: Pixels, how: Layout, spacing: float) -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = SYNTAX[how.syntax]
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.StudyInstanceUID = generate_uid()
    header.Modality, header.DimensionOrganizationType = "SM", "TILED_FULL"
    header.SamplesPerPixel, header.PhotometricInterpretation = 3, how.colours
    header.PlanarConfiguration = header.PixelRepresentation = 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    header.Rows = header.Columns = how.jpeg.tile
    header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns = pixels.shape[:2]
    header.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    measures, shared = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing = [spacing, spacing]
    shared.PixelMeasuresSequence = [measures]
    header.SharedFunctionalGroupsSequence = [shared]
    return header
