"""The same microns give the same pixels, whatever the scanner."""

import numpy as np
import pytest

from slidestream.geometry import Region
from slidestream.wsi import open_slide

EXTENT_UM = 460.0
DOTS_UM = [(60.3, 71.9), (201.7, 155.2), (333.1, 90.6), (120.4, 341.8), (401.2, 388.7), (260.0, 260.0)]
SIGMA_UM = 2.5
SCANNERS = [0.2, 0.25, 0.263, 0.3, 0.499, 0.729, (0.25, 0.27), (0.27, 0.25)]


def pair(mpp):
    return mpp if isinstance(mpp, tuple) else (mpp, mpp)


def grid_um(mpp):
    """Centres of the level-0 px in µm, x and y."""
    return tuple((np.arange(int(EXTENT_UM / m)) + 0.5) * m for m in pair(mpp))


def dots(mpp):
    x, y = grid_um(mpp)
    ink = sum(
        np.exp(-((y - dy) ** 2) / (2 * SIGMA_UM**2))[:, None]
        * np.exp(-((x - dx) ** 2) / (2 * SIGMA_UM**2))[None]
        for dx, dy in DOTS_UM
    )
    return np.repeat(np.round(255 - 235 * ink)[..., None], 3, axis=2).astype(np.uint8)


WAVES = np.random.default_rng(7).uniform(-1, 1, (24, 3))


def texture(x, y):
    """A smooth picture known at every micron: waves no shorter than 9 µm."""
    fx, fy, phase = WAVES.T[:, :, None]
    across, down = 2 * np.pi * fx * x / 13, 2 * np.pi * fy * y / 13 + 3 * phase
    value = np.cos(down).T @ np.cos(across) - np.sin(down).T @ np.sin(across)
    return 127.5 + 127.5 * np.clip(value / 12, -1, 1)


def micron_region(slide, origin_um, size_um):
    mx, my = slide.mpp
    return Region((origin_um[0] / mx, origin_um[1] / my), (size_um / mx, size_um / my))


def centroid(patch, near):
    x, y = (round(v) for v in near)
    r = 9
    ink = 255.0 - patch[y - r : y + r + 1, x - r : x + r + 1, 0]
    rows, columns = np.mgrid[y - r : y + r + 1, x - r : x + r + 1]
    return (ink * columns).sum() / ink.sum(), (ink * rows).sum() / ink.sum()


@pytest.mark.parametrize("mpp", SCANNERS, ids=str)
def test_dots_lie_where_their_microns_say(write_slide, tmp_path, mpp):
    path = write_slide(tmp_path / "a.tiff", dots(mpp), mpp, levels=4)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(pair(mpp), rel=1e-6)
        for spacing, origin in [(1.0, (20.37, 31.11)), (2.0, (5.7, 9.2)), (1.0, (171.9, 60.3))]:
            size = 200 if spacing == 2.0 else 224
            patch = slide.read_patch(micron_region(slide, origin, size * spacing), (size, size))
            seen = 0
            for dot in DOTS_UM:
                expected = tuple((d - o) / spacing - 0.5 for d, o in zip(dot, origin, strict=True))
                if min(expected) > 12 and max(expected) < size - 13:
                    seen += 1
                    assert centroid(patch, expected) == pytest.approx(expected, abs=0.1)
            assert seen >= 2


@pytest.mark.parametrize("mpp", SCANNERS, ids=str)
def test_a_known_picture_is_read_as_it_is(write_slide, tmp_path, mpp):
    pixels = np.repeat(np.round(texture(*grid_um(mpp)))[..., None], 3, axis=2).astype(np.uint8)
    path = write_slide(tmp_path / "a.tiff", pixels, mpp, levels=3)
    with open_slide(path) as slide:
        for spacing, origin, size in [
            (1.0, (20.37, 131.11), 224),
            (2.0, (4.9, 33.3), 200),
            (0.8, (77, 5), 256),
        ]:
            patch = slide.read_patch(micron_region(slide, origin, size * spacing), (size, size))
            centres = [o + (np.arange(size) + 0.5) * spacing for o in origin]
            expected = texture(*centres)
            error = np.abs(patch[..., 1] - expected)
            tolerance = 1.5 if spacing <= 1 else 6  # 2 µm px blur waves of 9 µm
            assert error.mean() < tolerance
            assert np.corrcoef(patch[..., 1].ravel(), expected.ravel())[0, 1] > 0.998


def test_two_scanners_agree(write_slide, tmp_path):
    patches = []
    for mpp in (0.25, 0.5):
        pixels = np.repeat(np.round(texture(*grid_um(mpp)))[..., None], 3, axis=2).astype(np.uint8)
        path = write_slide(tmp_path / f"{mpp}.tiff", pixels, mpp, levels=2)
        with open_slide(path) as slide:
            patches.append(
                slide.read_patch(micron_region(slide, (31.7, 52.3), 224.0), (224, 224)).astype(float)
            )
    assert np.abs(patches[0] - patches[1]).mean() < 1
    assert np.corrcoef(patches[0].ravel(), patches[1].ravel())[0, 1] > 0.9995


CMU, P2 = "CMU-1-Small-Region.svs", "P-2_carotid_zoomify.tiff"


@pytest.mark.parametrize(
    ("name", "spacing", "centre"),
    [
        (CMU, 1.0, (900, 900)),
        (CMU, 1.0, (1000, 2200)),
        (CMU, 2.0, (1100, 1300)),
        (P2, 1.0, (6240, 6400)),
        (P2, 1.0, (6240, 23000)),
        (P2, 2.0, (6240, 6400)),
        (P2, 2.0, (6240, 23000)),
        (P2, 12.0, (6240, 22900)),
    ],
)
def test_real_tissue_agrees_with_level_0(real, reference, name, spacing, centre):
    path = real(f"wsi/{name}")
    with open_slide(path) as slide:
        extent = tuple(128 * spacing / m for m in slide.mpp)
        region = Region(tuple(c - e / 2 + 0.37 for c, e in zip(centre, extent, strict=True)), extent)
        found = slide.read_patch(region, (128, 128))
    expected = reference.area_average(path, region, (128, 128))
    assert expected.std() > 20
    assert np.abs(reference.shift(expected, found)).max() < 0.06
    # A cubic keeps edges that an average blurs: the pictures differ, their places do not.
    assert np.abs(found - expected).mean() < 7


def test_fractional_origins_move_the_picture_by_that_fraction(write_slide, tmp_path, reference):
    pixels = np.repeat(np.round(texture(*grid_um(0.25)))[..., None], 3, axis=2).astype(np.uint8)
    path = write_slide(tmp_path / "a.tiff", pixels, 0.25, levels=3)
    with open_slide(path) as slide:
        for spacing in (0.5, 1.0, 1.7):
            size_um = 180 * spacing
            first = slide.read(micron_region(slide, (40, 40), size_um), (180, 180))
            moved = (40 + 0.2 * spacing, 40 - 0.1 * spacing)
            second = slide.read(micron_region(slide, moved, size_um), (180, 180))
            np.testing.assert_allclose(reference.shift(first, second), (-0.2, 0.1), atol=0.02)
