"""`identifying_kinds_of_volume` names kinds that were planted, and nothing of what they hold."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from slidestream.radiology.identifying import identifying_kinds_of_volume

from .conftest import WriteDicom

VOXELS = np.zeros((6, 6, 6), np.int16)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("form", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_nifti(tmp_path: Path, form: type[nibabel.Nifti1Image], name: str) -> None:
    path = tmp_path / name
    image = form(VOXELS, np.eye(4))
    image.to_filename(path)
    assert identifying_kinds_of_volume(path) == []
    image.header["descrip"] = b"of 1961-04-01"
    image.to_filename(path)
    assert identifying_kinds_of_volume(path) == ["dates", "free text"]


@pytest.mark.parametrize("field", ["descrip", "aux_file", "intent_name", "db_name"])
def test_each_text_of_nifti(tmp_path: Path, field: str) -> None:
    image = nibabel.Nifti1Image(VOXELS, np.eye(4))
    image.header[field] = b"Jane Doe"
    image.to_filename(tmp_path / "a.nii")
    assert identifying_kinds_of_volume(tmp_path / "a.nii") == ["free text"]


def test_extensions_of_nifti(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    image.to_filename(tmp_path / "a.nii")
    assert identifying_kinds_of_volume(tmp_path / "a.nii") == ["free text"]
    image.header.extensions.clear()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(2, b"Jane Doe"))
    image.to_filename(tmp_path / "b.nii")
    assert identifying_kinds_of_volume(tmp_path / "b.nii") == ["a DICOM header", "free text"]


def test_dicom(tmp_path: Path, write_dicom: WriteDicom) -> None:
    clean = write_dicom(tmp_path / "clean", np.zeros((2, 6, 6)))
    named = write_dicom(tmp_path / "named", np.zeros((2, 6, 6)), PatientName="Doe^Jane", StudyDate="19610401")
    assert identifying_kinds_of_volume(clean / "000.dcm") == []
    assert identifying_kinds_of_volume(named / "000.dcm") == ["dates", "patient name"]


def test_what_is_no_volume(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz", "a.dcm"):
        (tmp_path / name).write_bytes(b"Jane Doe " * 100)
        assert identifying_kinds_of_volume(tmp_path / name) == []
