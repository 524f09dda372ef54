"""The body mask against label maps and planted tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from slidestream.radiology.body import body_mask
from slidestream.radiology.volume import open_volume

from .conftest import WriteDicom

Real = Callable[[str], Path]


@pytest.mark.parametrize("name", ["", "_mr"])
def test_labelled_organs_are_in_the_body(name: str, real: Real) -> None:
    image = "example_mr_sm" if name else "example_ct_sm"
    labels = nibabel.load(real(f"radiology/TotalSegmentator/example_seg{name}.nii.gz")).get_fdata()
    with open_volume(real(f"radiology/TotalSegmentator/{image}.nii.gz")) as volume:
        mask = volume.body_mask()
        index = np.argwhere(np.ones_like(mask))[:, ::-1]
        x, y, z = (index @ volume.to_stored[:3, :3].T + volume.to_stored[:3, 3]).astype(int).T
    assert mask.ravel()[labels[x, y, z] > 0].mean() >= 0.99
    assert 0.3 < mask.mean() < 0.85
    assert not mask[:, [0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_a_real_head_holder_is_left_out(real: Real) -> None:
    with open_volume(real("radiology/dcm_qa_ct/In/Philips/S21570/S2010")) as volume:
        mask, step = volume.body_mask(), volume.mask_step
        shown = volume.thumbnail(512)
    assert (mask.shape, step) == ((28, 128, 128), 4)
    assert shown[200, 18].max() > 200  # the holder's left arm
    assert not mask[14, :, :20].any()
    assert mask[14, 50, 50]  # inside the skull


def test_table_and_tubes_are_left_out_and_lungs_are_in() -> None:
    hounsfield = np.full((6, 80, 100), -1000, np.float32)
    hounsfield[:, 10:60, 20:80] = 40
    hounsfield[:, 25:40, 30:45] = -850
    hounsfield[:, 60:62, 5:95] = 200  # a table that touches the back
    hounsfield[:, 70, :] = 200
    mask = body_mask(hounsfield, "ct")
    expected = np.zeros_like(mask)
    expected[:, 10:60, 20:80] = True
    assert mask[expected].all()
    assert not mask[:, 65:].any()
    assert not mask[:, :, :15].any()
    assert (mask & ~expected).sum() <= 0.05 * expected.sum()


def test_cells_stand_for_their_voxels(tmp_path: Path, write_dicom: WriteDicom) -> None:
    hounsfield = np.full((3, 300, 260), -1000)
    hounsfield[:, 90:210, 60:180] = 40
    with open_volume(write_dicom(tmp_path / "a", hounsfield)) as volume:
        mask, step = volume.body_mask(), volume.mask_step
    assert step == 3
    assert mask.shape == (3, 100, 87)
    assert (np.argwhere(mask).min(axis=0) * [1, step, step]).tolist() == [0, 90, 60]
    assert ((np.argwhere(mask).max(axis=0) + 1) * [1, step, step]).tolist() == [3, 210, 180]
