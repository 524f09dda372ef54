"""Nothing a header says about a patient reaches a description or a message."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest

from slidestream.errors import SlidestreamError
from slidestream.geometry import Region
from slidestream.radiology.volume import Volume, open_volume

from .conftest import WriteDicom

CANARY = "CANARY"
PLANTED = {
    "PatientName": "CANARY^JOHN",
    "PatientID": "CANARY-1",
    "StudyDescription": "CANARY study",
    "SeriesDescription": "CANARY series",
    "InstitutionName": "CANARY hospital",
    "StationName": "CANARY",
    "AccessionNumber": "CANARY-2",
    "ProtocolName": "CANARY",
    "ImageComments": "CANARY",
}


def everything_said(path: Path) -> str:
    """What a volume tells of itself, errors with their causes included."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with open_volume(path) as volume:
                said = json.dumps(volume.describe()) + _pixels(volume) + repr(volume)
        except SlidestreamError as error:
            said = f"{error!r} {error} {error.__cause__}"
    return said + "".join(str(w.message) for w in caught)


def _pixels(volume: Volume) -> str:
    try:
        return str(volume.read_patch(Region((0, 0, 0), (6, 6, 3)), (8, 8)))
    except SlidestreamError as error:
        return f"{error!r} {error.__cause__}"


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"Modality": "CANARY NAME"},
        {"PhotometricInterpretation": "CANARY"},
        {"ImagePositionPatient": None},
        {"PixelData": b"CANARY"},
        {"NumberOfFrames": 7},
    ],
)
def test_dicom(damage: dict[str, object], tmp_path: Path, write_dicom: WriteDicom) -> None:
    folder = write_dicom(tmp_path / "a", np.zeros((3, 6, 6)), **PLANTED, **damage)
    assert CANARY not in everything_said(folder)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("uid", ["1.2.3.4.99999", "no valid uid 99999"])
def test_uids_are_not_shown(uid: str, tmp_path: Path, write_dicom: WriteDicom) -> None:
    folder = write_dicom(tmp_path / "a", np.zeros((3, 6, 6)), SeriesInstanceUID=uid)
    assert "99999" not in everything_said(folder)


@pytest.mark.parametrize("cut", [0, 20, 300])
def test_nifti(cut: int, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((6, 6, 6), np.int16), np.eye(4))
    image.header["descrip"] = b"CANARY"
    image.header["aux_file"] = b"CANARY"
    image.header["db_name"] = b"CANARY"
    image.header["intent_name"] = b"CANARY"
    path = tmp_path / "a.nii"
    image.to_filename(path)
    path.write_bytes(path.read_bytes()[: -cut or None])
    assert CANARY not in everything_said(path)


def test_no_nifti_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"CANARY " * 100)
    assert CANARY not in everything_said(tmp_path / "a.nii")
