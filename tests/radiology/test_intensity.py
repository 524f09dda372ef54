"""Windows and percentiles, and the rule that chooses between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from slidestream.errors import InputError, UsageError
from slidestream.geometry import Region
from slidestream.radiology.intensity import Window, kind_of_values
from slidestream.radiology.volume import open_volume

from .conftest import WriteDicom, WriteNifti

Real = Callable[[str], Path]
MR = "radiology/TotalSegmentator/example_mr_sm.nii.gz"
CT = "radiology/TotalSegmentator/example_ct_sm.nii.gz"


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (None, [0, 0, 0.5, 0.75, 1, 1]),
        (Window(-600, 1500), [350 / 1500, 1190 / 1500, 1390 / 1500, 1490 / 1500, 1, 1]),
    ],
)
def test_window_values_are_exact(window, expected, tmp_path: Path, write_dicom: WriteDicom) -> None:
    hounsfield = np.array([[[-1000, -160, 40, 140, 240, 3000]]] * 3)
    hounsfield = np.repeat(hounsfield, 4, axis=1)
    with open_volume(write_dicom(tmp_path / "a", hounsfield), window=window) as volume:
        part = volume.read(Region((0, 0, 0), (6, 4, 3)), (6, 4))
        np.testing.assert_allclose(part[1, 1, :, 0], expected, atol=1e-6)
        patch = volume.read_patch(Region((0, 0, 0), (6, 4, 3)), (6, 4))
    assert patch is not None
    np.testing.assert_array_equal(patch[0, :, 0], np.round(np.float32(expected) * 255))


def test_mr_percentiles_equal_numpy(real: Real) -> None:
    with open_volume(real(MR)) as volume:
        assert volume.mask_step == 1
        index = np.argwhere(volume.body_mask())[:, ::-1]
        x, y, z = (index @ volume.to_stored[:3, :3].T + volume.to_stored[:3, 3]).astype(int).T
        voxels = nibabel.load(real(MR)).get_fdata()
        low, high = np.percentile(voxels[x, y, z], [1, 99])
        assert (volume.scaling.low, volume.scaling.high) == pytest.approx((low, high))
        part = volume.read(Region((0, 0, 4), (117, 91, 1)), (117, 91))[0, ..., 0]
    np.testing.assert_allclose(part, np.clip((voxels[:, :, 4].T - low) / (high - low), 0, 1), atol=1e-6)


def test_mr_dicom_goes_by_its_modality(real: Real) -> None:
    with open_volume(real("radiology/dicom2nifti/siemens/anatomical/001")) as volume:
        assert volume.scaling.kind == "mr"
        assert volume.scaling.rule == "mr by DICOM modality; 1st to 99th percentile of the body"


def test_what_was_chosen_is_recorded(real: Real) -> None:
    def rule(name: str, **options) -> str:
        with open_volume(real(name), **options) as volume:
            return volume.describe()["scaling"]["rule"]

    assert rule(CT) == "ct by range of values; soft tissue window"
    assert rule(MR) == "mr by range of values; 1st to 99th percentile of the body"
    assert rule(CT, window=Window(-600, 1500)) == "ct by the window given; window given"
    assert rule(CT, scaling="mr") == "mr by request; 1st to 99th percentile of the body"
    assert rule(MR, scaling="mr", window=Window(300, 600)) == "mr by request; window given"


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("soft tissue crop", -150, 250),
        ("standardised", -3, 3),
        ("phase", -4096, 4095),
        ("flat minus", -9, -8),
    ],
)
def test_values_that_fit_neither_are_not_guessed(
    name: str, low: float, high: float, tmp_path: Path, write_nifti: WriteNifti
) -> None:
    xyz = np.random.default_rng(0).uniform(low, high, (20, 20, 5)).astype(np.float32)
    path = write_nifti(tmp_path / "a.nii", xyz)
    with pytest.raises(InputError) as caught:
        open_volume(path).describe()
    assert "--scaling ct or --scaling mr" in caught.value.fix
    assert open_volume(path, scaling="ct").scaling.kind == "ct"
    assert open_volume(path, scaling="mr").scaling.kind == "mr"


def test_ringing_below_zero_is_still_mr() -> None:
    values = np.r_[np.full(300, -20), np.arange(1000)].astype(np.float32)
    assert kind_of_values(values) == "mr"
    assert kind_of_values(np.r_[np.full(100, -1024), np.arange(900)].astype(np.float32)) == "ct"


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_volumes_that_show_nothing(fill: float, tmp_path: Path, write_nifti: WriteNifti) -> None:
    path = write_nifti(tmp_path / "a.nii", np.full((8, 8, 4), fill, np.float32))
    with open_volume(path) as volume:
        assert not volume.body_mask().any()
        assert not volume.read(Region((0, 0, 0), (8, 8, 3)), (4, 4)).any()


def test_not_a_number_is_air(tmp_path: Path, write_nifti: WriteNifti) -> None:
    xyz = np.full((8, 8, 4), 100, np.float32)
    xyz[:4] = np.nan
    with open_volume(write_nifti(tmp_path / "a.nii", xyz), window=Window(50, 100)) as volume:
        patch = volume.read_patch(Region((0, 0, 0), (8, 8, 3)), (8, 8))
    assert patch is not None
    np.testing.assert_array_equal(patch[0, :, 0], [0, 0, 0, 0, 255, 255, 255, 255])


@pytest.mark.parametrize(("center", "width"), [(40, 0), (40, -1), (np.nan, 400), (40, np.inf)])
def test_windows_that_show_nothing(center: float, width: float) -> None:
    with pytest.raises(UsageError):
        Window(center, width)


def test_a_window_writes_itself_down() -> None:
    assert Window.from_dict(Window(-600, 1500).to_dict()) == Window(-600, 1500)
