"""NIfTI files against nibabel, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from slidestream.errors import (
    BadGeometry,
    InputNotFound,
    LimitExceeded,
    MissingExtra,
    Truncated,
    UnsupportedFormat,
)
from slidestream.radiology import nifti
from slidestream.radiology.volume import open_volume

from .conftest import Values, WriteNifti

Real = Callable[[str], Path]
CT = "radiology/TotalSegmentator/example_ct.nii.gz"


def test_a_real_ct_equals_nibabel(real: Real, wide, values: Values) -> None:
    path = real(CT)
    expected = nibabel.load(path)
    with open_volume(path, window=wide) as volume:
        index = np.stack(np.meshgrid(*map(np.arange, volume.size), indexing="ij"), axis=-1)
        stored = (index @ volume.to_stored[:3, :3].T + volume.to_stored[:3, 3]).astype(int)
        np.testing.assert_allclose(
            values(volume).transpose(), expected.get_fdata()[tuple(np.moveaxis(stored, -1, 0))], atol=2e-3
        )
        np.testing.assert_allclose(volume.affine, expected.affine @ volume.to_stored)
        np.testing.assert_allclose(volume.spacing, (3000, 3000, 3000))
        assert volume.orientation == "LPS"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<f4", "<f8"])
def test_types_and_scale_factors(suffix: str, dtype: str, tmp_path: Path, wide, values: Values) -> None:
    stored = np.arange(60).reshape(5, 4, 3).astype(dtype)
    image = nibabel.Nifti1Image(stored, np.diag([-1.0, -1, 1, 1]))
    image = nibabel.Nifti1Image(stored, np.diag([-1.0, -1, 1, 1]), image.header)
    image.header.set_data_dtype(dtype)
    image.header.set_slope_inter(2, -10)
    path = tmp_path / f"a{suffix}"
    image.to_filename(path)
    with open_volume(path, window=wide) as volume:
        np.testing.assert_allclose(values(volume), nibabel.load(path).get_fdata().T, atol=2e-3)


def test_units_of_length(tmp_path: Path, write_nifti: WriteNifti) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([-500.0, -500, 2000, 1]))
    image.header.set_xyzt_units("micron")
    image.to_filename(tmp_path / "a.nii")
    assert open_volume(tmp_path / "a.nii").spacing == (500, 500, 2000)


def test_sform_goes_before_qform(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([-2.0, -2, 2, 1]))
    image.set_qform(np.diag([-3.0, -3, 3, 1]), 1)
    image.to_filename(tmp_path / "a.nii")
    assert open_volume(tmp_path / "a.nii").spacing == (2000, 2000, 2000)
    image.set_sform(None, 0)
    image.to_filename(tmp_path / "b.nii")
    assert open_volume(tmp_path / "b.nii").spacing == (3000, 3000, 3000)
    image.set_qform(None, 0)
    image.to_filename(tmp_path / "c.nii")
    with pytest.raises(BadGeometry, match="neither an sform nor a qform"):
        open_volume(tmp_path / "c.nii")


@pytest.mark.parametrize(
    ("voxels", "found"),
    [
        (np.zeros((4, 4, 4, 2), np.int16), "4 axes"),
        (np.zeros((4, 4), np.int16), "2 axes"),
        (np.zeros((4, 4, 4), np.complex64), "complex64"),
        (np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "not one real number"),
    ],
)
def test_what_is_no_volume_is_refused(voxels, found, tmp_path: Path, write_nifti: WriteNifti) -> None:
    with pytest.raises(UnsupportedFormat, match=found):
        open_volume(write_nifti(tmp_path / "a.nii", voxels))


def test_a_sheared_grid_is_refused(tmp_path: Path, write_nifti: WriteNifti) -> None:
    affine = np.diag([-1.0, -1, 1, 1])
    affine[1, 2] = 0.3
    with pytest.raises(BadGeometry, match="off a right angle"):
        open_volume(write_nifti(tmp_path / "a.nii", np.zeros((4, 4, 4), np.int16), affine))


def test_truncated_files(tmp_path: Path, write_nifti: WriteNifti) -> None:
    noise = np.random.default_rng(0).integers(0, 999, (30, 30, 10)).astype(np.int16)
    plain, packed = write_nifti(tmp_path / "a.nii", noise), write_nifti(tmp_path / "b.nii.gz", noise)
    plain.write_bytes(plain.read_bytes()[:-1])
    with pytest.raises(Truncated):
        open_volume(plain)
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Truncated), open_volume(packed) as volume:
        volume.thumbnail(30)
    packed.write_bytes(whole[:20])
    with pytest.raises((Truncated, UnsupportedFormat)):
        open_volume(packed)


def test_a_flipped_bit_in_a_gzip_stream_is_noticed(tmp_path: Path, write_nifti: WriteNifti) -> None:
    path = write_nifti(tmp_path / "a.nii", np.zeros((30, 30, 10), np.int16))
    packed = bytearray(gzip.compress(path.read_bytes(), compresslevel=0))
    packed[5000] ^= 1  # stored blocks: inflates without complaint, only the checksum tells
    (tmp_path / "b.nii.gz").write_bytes(packed)
    with pytest.raises(Truncated, match="damaged"), open_volume(tmp_path / "b.nii.gz") as volume:
        volume.thumbnail(30)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 400, b"\xff" * 400])
def test_garbage(content: bytes, tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises((UnsupportedFormat, Truncated)):
            open_volume(tmp_path / name)


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound):
        open_volume(tmp_path / "a.nii.gz")


def test_a_large_gzip_is_sent_away(tmp_path: Path, write_nifti: WriteNifti, monkeypatch) -> None:
    monkeypatch.setattr(nifti, "GZ_LIMIT", 100)
    path = write_nifti(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.int16))
    with pytest.raises(LimitExceeded) as caught:
        open_volume(path)
    assert "gunzip" in caught.value.fix


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(MissingExtra) as caught:
        open_volume(tmp_path / "a.nii")
    assert caught.value.fix == "pip install 'slidestream[radiology]'"
