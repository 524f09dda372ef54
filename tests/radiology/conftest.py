"""Volumes written on the spot, and a way to see the physical values a volume reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from slidestream.geometry import Region
from slidestream.radiology.intensity import Window
from slidestream.radiology.volume import Volume

WIDE = Window(center=1024, width=8192)

WriteDicom = Callable[..., Path]
WriteNifti = Callable[..., Path]
Values = Callable[[Volume], NDArray[np.float64]]


@pytest.fixture(scope="session")
def wide() -> Window:
    """A window in which every 12-bit value can be told from its neighbour."""
    return WIDE


@pytest.fixture(scope="session")
def values() -> Values:
    """`values(volume)`: all voxels of a volume opened with the `wide` window, float64 (z, y, x)."""

    def read(volume: Volume) -> NDArray[np.float64]:
        x, y, _ = volume.size
        part = volume.read(Region((0, 0, 0), volume.bounds.extent), (x, y))[..., 0]
        return part.astype(np.float64) * WIDE.width + WIDE.center - WIDE.width / 2

    return read


@pytest.fixture(scope="session")
def write_nifti() -> WriteNifti:
    """`write_nifti(path, xyz, affine=LPS 1 mm)`; `xyz` in the file's own axes."""

    def write(path: Path, xyz: NDArray[Any], affine: NDArray[np.float64] | None = None) -> Path:
        nibabel.save(nibabel.Nifti1Image(xyz, np.diag([-1.0, -1, 1, 1]) if affine is None else affine), path)
        return path

    return write


@pytest.fixture(scope="session")
def write_dicom() -> WriteDicom:
    """`write_dicom(folder, zyx, spacing=(x, y, z) in mm, **tags)`: one file per slice, LPS axes.

    `name(z)` gives file names; `positions` overrides every ImagePositionPatient; other keywords are
    set in every header. Values are stored with intercept -1024.
    """

    def write(
        folder: Path,
        zyx: NDArray[Any],
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        name: Callable[[int], str] = "{:03d}.dcm".format,
        positions: list[tuple[float, float, float]] | None = None,
        **tags: Any,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        series = tags.pop("SeriesInstanceUID", None) or generate_uid()
        for z, plane in enumerate(zyx):
            header = _header(series, plane, spacing)
            header.ImagePositionPatient = list(positions[z]) if positions else [0.0, 0.0, z * spacing[2]]
            for keyword, value in tags.items():
                setattr(header, keyword, value)
            header.save_as(folder / name(z), enforce_file_format=True)
        return folder

    return write


def _header(series: str, plane: NDArray[Any], spacing: tuple[float, float, float]) -> pydicom.Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    header.SeriesInstanceUID, header.Modality = series, "CT"
    header.Rows, header.Columns = plane.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.PixelSpacing = [spacing[1], spacing[0]]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.SliceThickness = spacing[2]
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
    return header
