"""At full resolution a slide's pixels are OpenSlide's, untouched."""

import numpy as np
import openslide
import pytest
import tifffile

from slidestream.geometry import Region
from slidestream.wsi import open_slide

SLIDES = ["CMU-1-Small-Region.svs", "P-2_carotid_zoomify.tiff", "raw.dicom", "test3-DAPI-2-(387).ndpi"]


def on_white(rgba):
    alpha = rgba[..., 3:].astype(float) / 255
    return np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


@pytest.mark.parametrize("name", SLIDES)
def test_level_0_regions_are_exact(real, name):
    path = real(f"wsi/{name}")
    with open_slide(path) as slide, openslide.OpenSlide(path) as oracle:
        w, h = oracle.dimensions
        corners = [(0, 0), (w - 224, 0), (0, h - 224), (w - 224, h - 224), (w // 2, h // 2), (301, 207)]
        for x, y in corners:
            expected = np.asarray(oracle.read_region((x, y), 0, (224, 224)))
            assert (expected[..., 3] == 255).all()
            found = slide.read_patch(Region((x, y), (224, 224)), (224, 224))
            np.testing.assert_array_equal(found, expected[..., :3])


@pytest.mark.parametrize("name", SLIDES)
def test_what_hangs_over_the_border_is_white_and_the_rest_exact(real, name):
    path = real(f"wsi/{name}")
    with open_slide(path) as slide, openslide.OpenSlide(path) as oracle:
        w, h = oracle.dimensions
        for x, y in [(-100, -30), (w - 50, 10), (w - 50, h - 60), (40, h - 1)]:
            rgba = np.asarray(oracle.read_region((x, y), 0, (130, 200)))
            found = slide.read(Region((x, y), (130, 200)), (130, 200))
            np.testing.assert_array_equal(found, on_white(rgba))
            assert (found[rgba[..., 3] == 0] == 255).all()


def test_out_size_is_width_height_and_arrays_are_height_width(real):
    with open_slide(real("wsi/CMU-1-Small-Region.svs")) as slide:
        assert slide.read(Region((10, 20), (300, 150)), (100, 50)).shape == (50, 100, 3)
        assert slide.read(Region((10, 20), (300, 150)), (100, 50)).dtype == np.uint8


def test_a_region_outside_the_slide_is_no_patch(real):
    with open_slide(real("wsi/CMU-1-Small-Region.svs")) as slide:
        for origin in [(-400, 0), (2220, 100), (0, 2967), (5000, 5000)]:
            region = Region(origin, (224, 224))
            assert slide.read_patch(region, (224, 224)) is None
            assert slide.read_patch(region, (112, 112)) is None
            assert (slide.read(region, (112, 112)) == 255).all()
        assert slide.read_patch(Region((2219, 2966), (224, 224)), (112, 112)) is not None


def test_a_whole_lower_level_is_the_level_itself(write_slide, tmp_path):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (1024, 1536, 3), np.uint8)
    path = write_slide(tmp_path / "a.tiff", pixels, 0.25, levels=3)
    with open_slide(path) as slide, openslide.OpenSlide(path) as oracle:
        for level, factor in enumerate((1, 2, 4)):
            w, h = 1536 // factor, 1024 // factor
            expected = np.asarray(oracle.read_region((0, 0), level, (w, h)))[..., :3]
            np.testing.assert_array_equal(slide.read(Region((0, 0), (1536, 1024)), (w, h)), expected)


def test_edges_do_not_bleed_white_into_dark_tissue(write_slide, tmp_path):
    dark = np.full((901, 1203, 3), 40, np.uint8)
    with open_slide(write_slide(tmp_path / "a.tiff", dark, 0.25, levels=4)) as slide:
        for scale in (1.3, 2.0, 3.1, 4.0, 8.0):
            out = (int(1203 / scale / 2), int(901 / scale / 2))
            extent = (out[0] * scale, out[1] * scale)
            for x in (0, 1203 - extent[0]):
                for y in (0, 901 - extent[1]):
                    assert np.abs(slide.read(Region((x, y), extent), out).astype(int) - 40).max() <= 1


def test_half_covered_pixels_are_half_white(write_slide, tmp_path):
    black = np.zeros((400, 400, 3), np.uint8)
    with open_slide(write_slide(tmp_path / "a.tiff", black, 0.25)) as slide:
        found = slide.read(Region((-200, 0), (400, 400)), (4, 4))
        assert (found[:, 0] == 255).all()
        assert (found[:, 3] == 0).all()


def test_huge_regions_in_blocks_equal_one_piece(real, monkeypatch):
    from slidestream.wsi import sampling

    with open_slide(real("wsi/CMU-1-Small-Region.svs")) as slide:
        region, out = Region((13.3, 7.7), (2000.5, 2500.25)), (401, 502)
        monkeypatch.setattr(sampling, "BLOCK_PX", 1 << 30)
        whole = slide.read(region, out)
        monkeypatch.setattr(sampling, "BLOCK_PX", 200_000)
        blocks = slide.read(region, out)
    assert np.abs(whole.astype(int) - blocks).max() <= 1


def test_a_level_reduced_more_on_one_axis_keeps_its_places(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (1024, 1024, 3), np.uint8)
    reduced = pixels.reshape(256, 4, 512, 2, 3).mean((1, 3)).round().astype(np.uint8)
    shared = {"photometric": "rgb", "metadata": None, "tile": (256, 256)}
    with tifffile.TiffWriter(tmp_path / "a.tiff") as tiff:
        tiff.write(pixels, resolution=(4e4, 4e4), resolutionunit=3, **shared)
        tiff.write(reduced, subfiletype=1, **shared)
    with open_slide(tmp_path / "a.tiff") as slide:
        assert slide.levels[1].downsample == (2.0, 4.0)
        for x, y in [(0, 0), (300, 60), (412, 156)]:
            found = slide.read(Region((2 * x, 4 * y), (200, 400)), (100, 100))
            np.testing.assert_array_equal(found, reduced[y : y + 100, x : x + 100])
