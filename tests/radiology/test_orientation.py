"""The same anatomy is the same picture, however the file stores its axes."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest

from slidestream.geometry import Region
from slidestream.radiology.orientation import axis_codes
from slidestream.radiology.volume import open_volume

from .conftest import Values, WriteDicom, WriteNifti

LPS_CODES = [
    "".join(signed)
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for signed in itertools.product(*axes)
]


def anatomy() -> nibabel.Nifti1Image:
    """LPS axes, 6 x 5 x 4 voxels of 1 x 2 x 3 mm, all values distinct."""
    affine = np.diag([-1.0, -2, 3, 1])
    affine[:3, 3] = (10, 20, 30)
    return nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(6, 5, 4), affine)


def stored_as(codes: str) -> nibabel.Nifti1Image:
    image = anatomy()
    have = nibabel.io_orientation(image.affine)
    want = nibabel.orientations.axcodes2ornt(tuple(codes))
    return image.as_reoriented(nibabel.orientations.ornt_transform(have, want))


@pytest.mark.parametrize("codes", LPS_CODES)
def test_every_stored_orientation_gives_its_view(codes: str, tmp_path: Path, wide, values: Values) -> None:
    stored = stored_as(codes)
    view = {"S": "LPS", "I": "LPS", "A": "LIP", "P": "LIP", "L": "PIR", "R": "PIR"}[codes[2]]
    expected = stored_as(view)
    stored.to_filename(tmp_path / "a.nii")
    with open_volume(tmp_path / "a.nii", window=wide) as volume:
        assert volume.orientation == view
        assert volume.size == expected.shape
        np.testing.assert_allclose(values(volume).T, expected.get_fdata(), atol=1e-3)
        np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-5)
        np.testing.assert_allclose(np.array(volume.spacing), np.array(expected.header.get_zooms()) * 1000)
        x, y, z = (volume.to_stored @ [1, 2, 3, 1])[:3].astype(int)
        assert stored.get_fdata()[x, y, z] == expected.get_fdata()[1, 2, 3]


@pytest.mark.parametrize("codes", LPS_CODES)
def test_axis_codes_equal_nibabel(codes: str) -> None:
    assert axis_codes(stored_as(codes).affine) == codes


def test_one_scan_as_dicom_and_as_nifti_is_one_picture(
    tmp_path: Path, write_dicom: WriteDicom, write_nifti: WriteNifti
) -> None:
    zyx = np.random.default_rng(0).integers(-1000, 1000, (5, 40, 30))
    folder = write_dicom(tmp_path / "a", zyx, (0.8, 0.8, 2.0))
    ras = zyx.transpose(2, 1, 0)[::-1, ::-1]  # x to the right, y to the front
    affine = np.diag([0.8, 0.8, 2.0, 1])
    affine[:2, 3] = (-0.8 * 29, -0.8 * 39)
    path = write_nifti(tmp_path / "a.nii.gz", ras.astype(np.int16), affine)
    region = Region((3, 4, 1), (20, 20, 3))
    with open_volume(folder) as dicom, open_volume(path) as nifti:
        np.testing.assert_array_equal(dicom.read_patch(region, (24, 24)), nifti.read_patch(region, (24, 24)))
        np.testing.assert_allclose(dicom.affine, nifti.affine, atol=1e-5)
        np.testing.assert_array_equal(dicom.body_mask(), nifti.body_mask())
