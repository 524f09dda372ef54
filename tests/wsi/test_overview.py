"""The whole slide in a small picture, in bounded memory."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile

from slidestream.geometry import Region
from slidestream.wsi import open_slide


def test_a_thumbnail_is_the_whole_slide_reduced(real, reference):
    for name in ("wsi/CMU-1-Small-Region.svs", "wsi/test3-DAPI-2-(387).ndpi"):
        path = real(name)
        with open_slide(path) as slide:
            found = slide.thumbnail(300)
            h, w = found.shape[:2]
            assert max(h, w) == 300
            assert w / h == pytest.approx(slide.size[0] / slide.size[1], rel=0.005)
            expected = reference.area_average(path, Region((0, 0), slide.size), (w, h))
        assert np.abs(reference.shift(expected, found)).max() < 0.05
        assert np.abs(found - expected).mean() < 6


def test_a_thumbnail_is_never_enlarged(write_slide, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    with open_slide(write_slide(tmp_path / "a.tiff", pixels, 0.5)) as slide:
        np.testing.assert_array_equal(slide.thumbnail(1000), pixels)
        np.testing.assert_array_equal(slide.overview(0.1, 1000)[0], pixels)
        assert slide.thumbnail(1).shape == (1, 1, 3)
        assert slide.thumbnail(9).shape == (6, 9, 3)


@pytest.mark.parametrize(
    ("spacing", "max_px", "expected"),
    [(8.0, 4000, (185, 138)), (2.0, 4000, (740, 554)), (2.0, 370, (370, 277)), (0.499, 9999, (2967, 2220))],
)
def test_an_overview_has_the_spacing_asked_for_within_its_limit(real, spacing, max_px, expected):
    with open_slide(real("wsi/CMU-1-Small-Region.svs")) as slide:
        pixels, scanned = slide.overview(spacing, max_px)
        assert pixels.shape == (*expected, 3)
        assert scanned.shape == expected
        assert scanned.dtype == bool
        assert scanned.all()


def test_an_overview_of_unequal_axes_is_square_in_microns(write_slide, tmp_path):
    pixels = np.zeros((1000, 1000, 3), np.uint8)
    with open_slide(write_slide(tmp_path / "a.tiff", pixels, (0.5, 0.54))) as slide:
        assert slide.overview(5.0, 4000)[0].shape == (108, 100, 3)


MEASURE = """
import sys
import numpy as np
from slidestream.geometry import Region
from slidestream.wsi import open_slide
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
slide = open_slide(sys.argv[1])
slide.read(Region((0, 0), (64, 64)), (64, 64))
slide.read(Region((0, 0), (128, 128)), (64, 64))
before = peak()
np.save(sys.argv[2], slide.thumbnail(400))
slide.thumbnail(1)
slide.read(Region((0, 0), slide.size), (500, 500))
print(peak() - before)
"""
SIDE, TILE = 8192, 512


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured as Linux counts it")
def test_one_huge_level_is_read_in_bounded_memory(tmp_path):
    shades = np.random.default_rng(0).integers(0, 256, (SIDE // TILE, SIDE // TILE, 3), np.uint8)
    tiles = (np.broadcast_to(s, (TILE, TILE, 3)).copy() for row in shades for s in row)
    path = tmp_path / "a.tiff"
    options = {"photometric": "rgb", "metadata": None, "compression": "zlib", "tile": (TILE, TILE)}
    tifffile.imwrite(
        path, tiles, shape=(SIDE, SIDE, 3), dtype=np.uint8, resolution=(4e4, 4e4), resolutionunit=3, **options
    )
    command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "thumb.npy")]
    peak_mib = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert peak_mib < 120  # the level is 192 MiB as RGB, 256 MiB as RGBA
    found = np.load(tmp_path / "thumb.npy")
    step = 400 // (SIDE // TILE)
    centres = found[step // 2 :: step, step // 2 :: step]
    assert np.abs(centres.astype(int) - shades).max() <= 1
