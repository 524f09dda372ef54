"""DICOM series against independent readers (SimpleITK, pydicom) and ground-truth NIfTI files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import generate_uid

from slidestream.errors import (
    BadGeometry,
    InputError,
    InputNotFound,
    LimitExceeded,
    MppImplausible,
    ReadFailed,
    Truncated,
    UnsupportedFormat,
)
from slidestream.geometry import Region
from slidestream.radiology.volume import open_volume

from .conftest import Values, WriteDicom

Real = Callable[[str], Path]
PHILIPS = "radiology/dcm_qa_ct/In/Philips/S21570/S2010"
GROUND_TRUTH = [
    "generic/anatomical/001",
    "generic/anatomical/001_implicit",
    "generic/anatomical/002_non_isotropic",
    "generic/compressed/001",
    "generic/compressed_j2k/001",
    "generic/compressed_jpeg/001",
    "generic/compressed_jpegls/001",
    "generic/compressed_rle/001",
    "siemens/anatomical/001",
    "siemens/anatomical/001_implicit",
]


def ramp(shape: tuple[int, int, int] = (4, 6, 5)) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape) - 50


@pytest.mark.parametrize("name", GROUND_TRUTH)
def test_voxels_and_places_equal_the_ground_truth(name: str, real: Real, wide, values: Values) -> None:
    truth = nibabel.load(real(f"radiology/dicom2nifti/{name}_ground_truth.nii.gz"))
    expected, to_voxel = truth.get_fdata(), np.linalg.inv(truth.affine)
    with open_volume(real(f"radiology/dicom2nifti/{name}"), window=wide) as volume:
        found = values(volume)
        index = np.stack(np.meshgrid(*map(np.arange, volume.size), indexing="ij"), axis=-1).reshape(-1, 3)
        there = np.c_[index, np.ones(len(index))] @ (to_voxel @ volume.affine).T
        spacing = sorted(np.array(volume.spacing) / 1000)
    assert np.abs(there - there.round()).max() < 1e-3
    x, y, z = there[:, :3].round().astype(int).T
    np.testing.assert_allclose(found[tuple(index.T[::-1])], expected[x, y, z], atol=2e-3)
    np.testing.assert_allclose(spacing, sorted(truth.header.get_zooms()), rtol=1e-5)


def test_extensionless_ct_equals_simpleitk(real: Real, wide, values: Values) -> None:
    folder = real(PHILIPS)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    expected = reader.Execute()
    with open_volume(folder, window=wide) as volume:
        assert volume.size == expected.GetSize() == (512, 512, 28)
        np.testing.assert_allclose(volume.spacing, np.array(expected.GetSpacing()) * 1000, rtol=1e-6)
        np.testing.assert_allclose(
            (volume.affine @ [10, 20, 5, 1])[:3] * [-1, -1, 1],
            expected.TransformIndexToPhysicalPoint((10, 20, 5)),
            atol=1e-6,
        )
        np.testing.assert_allclose(values(volume), sitk.GetArrayFromImage(expected), atol=2e-3)
        assert (volume.modality, volume.orientation) == ("CT", "LPS")


def test_one_file_opens_its_whole_series(real: Real) -> None:
    folder = real(PHILIPS)
    with open_volume(folder) as whole, open_volume(folder / "I30") as by_file:
        assert by_file.identity() == whole.identity()


def test_names_do_not_matter(tmp_path: Path, write_dicom: WriteDicom, wide, values: Values) -> None:
    forward = write_dicom(tmp_path / "a", ramp())
    backward = write_dicom(tmp_path / "b", ramp(), name=lambda z: f"{97 * (5 - z) % 7}")
    with open_volume(forward, window=wide) as a, open_volume(backward, window=wide) as b:
        np.testing.assert_allclose(values(a), ramp(), atol=1e-3)
        np.testing.assert_allclose(values(b), ramp(), atol=1e-3)


def test_identity_is_content_in_slice_order(tmp_path: Path, write_dicom: WriteDicom) -> None:
    folder = write_dicom(tmp_path / "a", ramp())
    renamed = tmp_path / "b"
    renamed.mkdir()
    for i, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        shutil.copy(path, renamed / f"x{i}")
    assert open_volume(folder).identity() == open_volume(renamed).identity()


def test_an_oblique_series_keeps_its_directions(tmp_path: Path, write_dicom: WriteDicom) -> None:
    angle = np.radians(20)
    row, column = np.array([np.cos(angle), np.sin(angle), 0]), np.array([-np.sin(angle), np.cos(angle), 0])
    cosines = [*row, *column]
    folder = write_dicom(tmp_path / "a", ramp(), (0.5, 0.7, 3.0), ImageOrientationPatient=list(cosines))
    with open_volume(folder) as volume:
        lps = (volume.affine @ [3, 2, 1, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(lps, 3 * 0.5 * row + 2 * 0.7 * column + [0, 0, 3.0], atol=1e-6)


def test_a_real_missing_slice_is_named(real: Real) -> None:
    with pytest.raises(BadGeometry, match=r"IM-0001-0009-0001.dcm and IM-0001-0010-0001.dcm is 10.000 mm"):
        open_volume(real("radiology/dicom2nifti/failing/sliceincrement/001"))


@pytest.mark.parametrize(
    ("positions", "found"),
    [
        ([(0, 0, 0), (0, 0, 1), (0, 0, 1), (0, 0, 2)], "one position"),
        ([(0, 0, 0), (0, 0, 1), (0, 0, 3), (0, 0, 4)], "a slice is missing"),
        ([(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3.1)], "a slice is missing"),
        ([(0, 0, 0), (0, 0.2, 1), (0, 0.4, 2), (0, 0.6, 3)], "11.3 degrees off a right angle"),
    ],
)
def test_an_irregular_stack_is_refused(
    positions, found: str, tmp_path: Path, write_dicom: WriteDicom
) -> None:
    folder = write_dicom(tmp_path / "a", ramp(), positions=positions)
    with pytest.raises(BadGeometry, match=found):
        open_volume(folder)


def test_rounding_of_positions_is_no_gap(tmp_path: Path, write_dicom: WriteDicom) -> None:
    folder = write_dicom(
        tmp_path / "a", ramp(), positions=[(0, 0, 0), (0, 0, 0.996), (0, 0, 2.001), (0, 0, 3)]
    )
    assert open_volume(folder).spacing[2] == pytest.approx(1000)


@pytest.mark.parametrize(
    ("tags", "error", "found"),
    [
        ({"Modality": "PT"}, UnsupportedFormat, "modality PT"),
        ({"NumberOfFrames": 4}, UnsupportedFormat, "4 frames"),
        ({"SamplesPerPixel": 3}, UnsupportedFormat, "3 samples"),
        ({"RescaleSlope": None}, UnsupportedFormat, "Hounsfield"),
        ({"ImagePositionPatient": None}, BadGeometry, "lacks its position"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, BadGeometry, "right angles"),
        ({"PixelSpacing": [0, 0]}, MppImplausible, "0 x 0 x 1 mm"),
        ({"PixelSpacing": [264.58, 264.58]}, MppImplausible, "264.58"),
        ({"Rows": 65535, "Columns": 65535}, LimitExceeded, "65535"),
    ],
)
def test_what_is_no_volume_is_refused(tags, error, found, tmp_path: Path, write_dicom: WriteDicom) -> None:
    folder = write_dicom(tmp_path / "a", ramp(), **tags)
    with pytest.raises(error, match=found):
        open_volume(folder)


def test_slices_that_differ_are_refused(tmp_path: Path, write_dicom: WriteDicom) -> None:
    uid = generate_uid()
    write_dicom(tmp_path, ramp(), SeriesInstanceUID=uid)
    write_dicom(tmp_path, ramp((1, 8, 5)), SeriesInstanceUID=uid, name="z".format)
    with pytest.raises(BadGeometry, match="differ in rows: 6, 8"):
        open_volume(tmp_path)


def test_colour_is_refused(real: Real) -> None:
    with pytest.raises(UnsupportedFormat, match="3 samples per pixel"):
        open_volume(real("radiology/dicom2nifti/generic/rgb/001"))


def test_several_series_in_a_folder_are_told_apart(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path, ramp(), name="a{}".format)
    write_dicom(tmp_path, ramp() + 1, name="b{}".format)
    (tmp_path / "notes.txt").write_text("no DICOM")
    with pytest.raises(InputError, match="2 series") as caught:
        open_volume(tmp_path)
    assert "a0, b0" in caught.value.fix
    assert "1.2.826" not in str(caught.value)
    with open_volume(tmp_path / "b2") as volume:
        assert volume.size == (5, 6, 4)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound):
        open_volume(tmp_path / "absent")
    with pytest.raises(UnsupportedFormat, match="no DICOM image"):
        open_volume(tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UnsupportedFormat, match="neither NIfTI"):
        open_volume(tmp_path / "text")


def test_a_damaged_slice_costs_only_its_own_patches(tmp_path: Path, write_dicom: WriteDicom) -> None:
    folder = write_dicom(tmp_path / "a", ramp((8, 6, 5)))
    region = [Region((0, 0, z), (5, 6, 3)) for z in range(6)]
    with open_volume(folder) as clean:
        expected = [clean.read_patch(r, (5, 6)) for r in region]
    path = folder / "001.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    with open_volume(folder) as volume:
        for r in region[:2]:
            with pytest.raises(ReadFailed, match=r"001\.dcm"):
                volume.read_patch(r, (5, 6))
        for r, patch in zip(region[2:], expected[2:], strict=True):
            np.testing.assert_array_equal(volume.read_patch(r, (5, 6)), patch)
        assert volume.body_mask().shape == (8, 6, 5)
        assert volume.thumbnail(10).shape == (6, 5, 3)


def test_a_damaged_header_is_not_taken_for_a_missing_file(tmp_path: Path, write_dicom: WriteDicom) -> None:
    folder = write_dicom(tmp_path / "a", ramp())
    path = folder / "003.dcm"
    path.write_bytes(path.read_bytes()[:140])
    with pytest.raises(Truncated, match=r"003\.dcm"):
        open_volume(folder)


def test_signed_rescaled_compressed_values(real: Real, tmp_path: Path, wide, values: Values) -> None:
    source = sorted(real("radiology/dicom2nifti/generic/compressed_jpegls/001").iterdir())
    for path in source:
        header = pydicom.dcmread(path)
        header.RescaleSlope, header.RescaleIntercept = 2, -100
        header.save_as(tmp_path / path.name)
    with open_volume(tmp_path, window=wide) as volume:
        found = values(volume)
    stored = [sitk.GetArrayFromImage(sitk.ReadImage(path))[0] for path in map(str, reversed(source))]
    np.testing.assert_allclose(found, np.array(stored) * 2.0 - 100, atol=2e-3)


def test_sign_bits_and_overlay_bits(tmp_path: Path, write_dicom: WriteDicom, wide, values: Values) -> None:
    stored = np.array([[[-2048, -1, 0, 2047]]] * 2, dtype=np.int16)
    bits = (stored.astype(np.uint16) & 0x0FFF) | 0x4000  # an overlay hides above 12 signed bits
    folder = write_dicom(
        tmp_path / "a", stored, BitsStored=12, HighBit=11, PixelRepresentation=1, PixelData=bits[0].tobytes()
    )
    with open_volume(folder, window=wide) as volume:
        np.testing.assert_allclose(values(volume), stored - 1024.0, atol=1e-3)


@pytest.mark.parametrize(("modality", "expected"), [("CT", [-50, 50]), ("MR", [63537, 63437])])
def test_monochrome1_turns_mr_but_not_hounsfield_units(
    modality: str, expected: list[int], tmp_path: Path, write_dicom: WriteDicom
) -> None:
    folder = write_dicom(
        tmp_path / "a",
        np.array([[[-50, 50]]] * 3),
        Modality=modality,
        PhotometricInterpretation="MONOCHROME1",
    )
    with open_volume(folder) as volume:
        np.testing.assert_array_equal(volume._cache.get(0), [expected])
