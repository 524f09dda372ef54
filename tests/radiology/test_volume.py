"""Reading regions, slabs and thumbnails of a volume."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import SpacingTooFine, UsageError
from slidestream.geometry import Region
from slidestream.radiology.intensity import Window
from slidestream.radiology.volume import Volume, open_volume
from slidestream.tiling.source import PatchSource

from .conftest import WriteDicom, WriteNifti

Open = Callable[..., Volume]
Real = Callable[[str], Path]
CT = "radiology/TotalSegmentator/example_ct.nii.gz"


@pytest.fixture(params=["dicom", "nii", "nii.gz"])
def make(request, tmp_path: Path, write_dicom: WriteDicom, write_nifti: WriteNifti) -> Open:
    """`make(zyx, spacing)` writes a volume in each format and opens it with a 0..100 window."""

    def write(zyx: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Volume:
        if request.param == "dicom":
            return open_volume(write_dicom(tmp_path / "a", zyx, spacing), window=Window(50, 100))
        path = tmp_path / f"a.{request.param}"
        x, y, z = spacing
        xyz = np.ascontiguousarray(zyx.transpose(2, 1, 0)).astype(np.int16)
        return open_volume(write_nifti(path, xyz, np.diag([-x, -y, z, 1])), window=Window(50, 100))

    return write


def planted(x: int, y: int, z: int) -> np.ndarray:
    zyx = np.full((9, 50, 60), 0)
    zyx[z, y, x] = 100
    return zyx


def test_a_planted_voxel_is_where_it_should_be(make: Open) -> None:
    source: PatchSource = make(planted(23, 31, 5))
    for z in range(9):
        for x, y in ((0, 0), (16, 24), (20, 30)):
            patch = source.read_patch(Region((x, y, z), (16, 16, 3)), (16, 16))
            expected = np.zeros((16, 16, 3), np.uint8)
            if x <= 23 < x + 16 and y <= 31 < y + 16 and z <= 5 < z + 3:
                expected[31 - y, 23 - x, 5 - z] = 255
            np.testing.assert_array_equal(patch, expected)


def test_the_last_slice_is_repeated_where_a_slab_ends(make: Open) -> None:
    volume = make(planted(3, 2, 8))
    expected = {6: [0, 0, 255], 7: [0, 255, 255], 8: [255, 255, 255]}
    for z, channels in expected.items():
        patch = volume.read_patch(Region((0, 0, z), (8, 8, 3)), (8, 8))
        assert patch is not None
        assert patch[2, 3].tolist() == channels
    single = volume.read_patch(Region((0, 0, 8), (8, 8, 1)), (8, 8))
    assert single is not None
    assert single[2, 3].tolist() == [255] * 3


@pytest.mark.parametrize("origin", [(60, 0, 0), (-16, 0, 0), (0, 50, 0), (0, 0, 9), (0, 0, -3)])
def test_outside_is_none(origin: tuple[int, int, int], make: Open) -> None:
    assert make(planted(0, 0, 0)).read_patch(Region(origin, (16, 16, 3)), (16, 16)) is None


def test_overhang_is_black_and_nothing_wraps(make: Open) -> None:
    volume = make(np.full((4, 20, 30), 100))
    part = volume.read(Region((-5, -4, 0), (40, 30, 2)), (40, 30))
    assert part.shape == (2, 30, 40, 1)
    assert part.dtype == np.float32
    expected = np.zeros((30, 40))
    expected[4:24, 5:35] = 1
    np.testing.assert_array_equal(part[0, ..., 0], expected)


def test_read_takes_whole_slices(make: Open) -> None:
    volume = make(np.arange(9)[:, None, None] * np.full((9, 10, 10), 10))
    part = volume.read(Region((0, 0, 2.3), (10, 10, 3.6)), (5, 5))
    np.testing.assert_allclose(part[:, 2, 2, 0], [0.2, 0.3, 0.4, 0.5], atol=1e-6)


@pytest.mark.parametrize("spacing", [(0.4, 0.8), (0.8, 0.4), (0.5, 0.5), (1.3, 0.9)])
def test_fields_of_view_are_physical(spacing: tuple[float, float], make: Open) -> None:
    """A 24 mm x 32 mm box at (12, 20) mm in a patch of 1 mm pixels, whatever the voxels."""
    x, y = spacing
    zyx = np.zeros((3, round(80 / y), round(80 / x)))
    row, column = (np.arange(zyx.shape[1]) + 0.5) * y, (np.arange(zyx.shape[2]) + 0.5) * x
    zyx[:, np.outer((row > 20) & (row < 52), (column > 12) & (column < 36))] = 100
    volume = make(zyx, (x, y, 5.0))
    patch = volume.read_patch(Region((0, 0, 0), (64 / x, 64 / y, 3)), (64, 64))
    assert patch is not None
    mass = patch[..., 0] / 255.0
    assert mass.sum(axis=1).max() == pytest.approx(24, abs=1)
    assert mass.sum(axis=0).max() == pytest.approx(32, abs=1)
    rows, columns = np.nonzero(mass > 0.5)
    found = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
    np.testing.assert_allclose(found, [12, 36, 20, 52], atol=1)


def test_a_fine_pattern_does_not_alias(make: Open) -> None:
    zyx = np.zeros((3, 64, 64))
    zyx[:, :, ::2] = 100
    patch = make(zyx).read_patch(Region((8, 8, 0), (48, 48, 3)), (12, 12))
    assert patch is not None
    assert np.ptp(patch.astype(int)) <= 2
    assert abs(int(patch[0, 0, 0]) - 127) <= 2


def test_patches_continue_each_other(make: Open) -> None:
    zyx = np.random.default_rng(0).integers(0, 100, (3, 40, 60))
    volume = make(zyx)
    whole = volume.read(Region((0, 0, 0), (60, 40, 1)), (30, 20))
    parts = [volume.read(Region((x, 0, 0), (20, 40, 1)), (10, 20)) for x in (0, 20, 40)]
    np.testing.assert_allclose(np.concatenate(parts, axis=2), whole, atol=1e-6)


def test_threads_see_what_one_thread_sees(real: Real) -> None:
    regions = [Region((x, y, z), (40, 40, 3)) for z in range(0, 110, 3) for x in (0, 40, 80) for y in (0, 60)]
    with open_volume(real(CT)) as alone:
        expected = [alone.read_patch(r, (56, 56)) for r in regions]
    with open_volume(real(CT)) as volume, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda r: volume.read_patch(r, (56, 56)), regions))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_thumbnail_is_the_middle_slice(make: Open) -> None:
    zyx = np.zeros((5, 20, 40))
    zyx[2, :, 20:] = 100
    thumbnail = make(zyx).thumbnail(10)
    assert thumbnail.shape == (5, 10, 3)
    assert thumbnail.dtype == np.uint8
    assert (thumbnail[:, :4] == 0).all()
    assert (thumbnail[:, 6:] == 255).all()
    assert make(zyx).thumbnail(999).shape == (20, 40, 3)


def test_spacing_too_fine_names_the_flags(make: Open) -> None:
    volume = make(np.zeros((3, 8, 8)), (0.7, 0.8, 5.0))
    for fine in (800.0, 770.0, 3000.0):
        volume.check_spacing(fine)
    with pytest.raises(SpacingTooFine, match=r"0\.5 mm per px are finer than voxels of 0\.8 mm") as caught:
        volume.check_spacing(500.0)
    assert "--volume-mm 0.8" in caught.value.fix
    assert "--allow-upsampling" in caught.value.fix
    volume.check_spacing(500.0, max_upsampling=0.6)


def test_describe_is_json_with_units(make: Open) -> None:
    volume = make(np.zeros((3, 8, 9)), (0.5, 0.25, 5.0))
    facts = json.loads(json.dumps(volume.describe(), allow_nan=False))
    assert facts["kind"] == "volume"
    assert facts["size"] == [9, 8, 3]
    assert facts["spacing"] == pytest.approx([500, 250, 5000])
    assert (facts["scaling"]["low"], facts["scaling"]["high"]) == (0, 100)
    assert facts["identity"] == volume.identity()
    assert facts["orientation"] == "LPS"
    np.testing.assert_allclose(facts["affine"], volume.affine)
    assert volume.bounds == Region((0, 0, 0), (9, 8, 3))


def test_an_unknown_scaling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'pet'"):
        open_volume(tmp_path / "a.nii", scaling="pet")  # type: ignore[arg-type]


def test_a_closed_volume_can_be_read_again(make: Open) -> None:
    volume = make(planted(3, 2, 1))
    region = Region((0, 0, 0), (8, 8, 3))
    before = volume.read_patch(region, (8, 8))
    volume.close()
    np.testing.assert_array_equal(volume.read_patch(region, (8, 8)), before)
