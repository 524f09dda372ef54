"""Pyramids that are not one directory per level: Philips' padded ones, OME's hanging ones."""

import numpy as np
import openslide
import pytest
import tifffile

from slidestream.errors import SlidestreamError, UnsupportedFormat
from slidestream.geometry import Region
from slidestream.wsi import open_slide
from slidestream.wsi.tiff_pyramid import read_pyramid
from slidestream.wsi.tile_table import UnusualLayoutError, read_tables
from slidestream.wsi.tiled_reader import TiledReader

from . import jpeg_slides as js
from . import philips_slides as ps

HOW = js.Layout(tile=128)
SIZES = [(1000, 700), (500, 350), (250, 175)]


def read_level(slide, level):
    width, height = slide.levels[level].size
    factor = slide.levels[level].downsample[0]
    return slide.read(Region((0, 0), (width * factor, height * factor)), (width, height))


def test_philips_levels_end_before_their_directories_and_empty_tiles_are_not_scanned(tmp_path):
    """OpenSlide says how large the levels are, from the spacings in the XML."""
    pixels = [js.tissue(size, seed) for seed, size in enumerate(SIZES)]
    empty = [frozenset([3, 8, 9]), frozenset([0]), frozenset([1])]
    path = ps.write(tmp_path / "a.tiff", pixels, HOW, empty)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[2].shape == (256, 256, 3)
    with open_slide(path) as slide, openslide.OpenSlide(path) as oracle:
        assert isinstance(slide._reader, TiledReader)
        assert (slide.format, slide.mpp) == ("philips", (0.25, 0.25))
        assert [level.size for level in slide.levels] == [(1024, 768), (512, 384), (256, 192)]
        for level, (width, height) in enumerate(oracle.level_dimensions):
            rgba = np.asarray(oracle.read_region((0, 0), level, (width, height)))
            expected = np.where(rgba[..., 3:] == 255, rgba[..., :3], 255)
            np.testing.assert_array_equal(read_level(slide, level), expected)
            assert (rgba[..., 3] == 0).any()
        assert slide.read_patch(Region((3 * 128 + 5, 5), (100, 100)), (100, 100)) is None


def test_directories_that_fit_no_level_are_not_taken_for_it(tmp_path):
    pixels = [js.tissue(size, seed) for seed, size in enumerate(SIZES)]
    path = ps.write(tmp_path / "a.tiff", pixels, HOW, [frozenset()] * 3)
    with pytest.raises(UnusualLayoutError, match="3 tiled directories for 2 levels"):
        read_tables(path, SIZES[:2], padded=True)
    with pytest.raises(UnusualLayoutError, match="smaller than its level"):
        read_tables(path, [SIZES[0], SIZES[1], (300, 175)], padded=True)
    with pytest.raises(UnusualLayoutError, match="0 tiled directories"):
        read_tables(path, SIZES)


def write_ome(path, pixels, how=HOW, units=("µm", "µm"), mpp=0.25, **options):
    """As Bio-Formats and tifffile write it: lower levels in SubIFDs of the first directory."""
    said = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    said |= {"PhysicalSizeXUnit": units[0], "PhysicalSizeYUnit": units[1]} if units else {}
    shared = {"tile": (how.tile, how.tile), "photometric": "rgb", "compression": "zlib"} | options
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as tiff:
        tiff.write(pixels[0], subifds=len(pixels) - 1, metadata=said, **shared)
        for level in pixels[1:]:
            tiff.write(level, subfiletype=1, metadata=None, **shared)
        label = np.full((128, 256, 3), 7, np.uint8)
        tiff.write(label, metadata={"axes": "YXS", "Name": "label"}, **shared)
    return path


@pytest.mark.parametrize("compression", ["zlib", "jpeg", "none"])
def test_ome_levels_hang_below_the_first(tmp_path, compression):
    pixels = [js.tissue(size, seed) for seed, size in enumerate(SIZES)]
    path = write_ome(tmp_path / "a.ome.tiff", pixels, compression=compression)
    with openslide.OpenSlide(path) as oracle:
        assert oracle.level_count == 1
    with open_slide(path) as slide, tifffile.TiffFile(path) as tiff:
        assert isinstance(slide._reader, TiledReader)
        assert (slide.format, slide.mpp) == ("ome-tiff", (0.25, 0.25))
        assert [level.size for level in slide.levels] == SIZES
        for level in range(3):
            expected = tiff.series[0].levels[level].asarray()
            np.testing.assert_array_equal(read_level(slide, level), expected)
        assert len(slide.identity()) == 64


@pytest.mark.parametrize(
    ("units", "said", "mpp"),
    [(None, 0.5, 0.5), (("nm", "nm"), 500, 0.5), (("mm", "mm"), 0.00025, 0.25), (("cm", "cm"), 5e-5, 0.5)],
)
def test_ome_sizes_come_in_units(tmp_path, units, said, mpp):
    pixels = [js.tissue((300, 200)), js.tissue((150, 100))]
    path = write_ome(tmp_path / "a.ome.tiff", pixels, HOW, units, said)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((mpp, mpp))


def test_an_ome_file_without_a_known_size_is_not_guessed_at(tmp_path):
    pixels = [js.tissue((300, 200)), js.tissue((150, 100))]
    path = write_ome(tmp_path / "a.ome.tiff", pixels, HOW, ("pixel", "pixel"), 1.0)
    with pytest.raises(SlidestreamError, match="MPP_"):
        open_slide(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_fluorescence_is_refused_with_what_was_found(tmp_path, dtype):
    path = tmp_path / "a.ome.tiff"
    channels = np.zeros((4, 300, 400), dtype)
    said = {"axes": "CYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(channels, tile=(128, 128), photometric="minisblack", metadata=said, subifds=1)
        tiff.write(channels[:, ::2, ::2], tile=(128, 128), photometric="minisblack", subfiletype=1)
    with pytest.raises(UnsupportedFormat, match=f"{np.dtype(dtype).itemsize * 8}-bit grey"):
        open_slide(path)


def test_what_openslide_knows_is_found_alike(real):
    """Levels, mpp and power as OpenSlide states them, for the files that are read from URLs without it."""
    names = ["CMU-1-Small-Region.svs", "P-2_carotid_zoomify.tiff", "boxes.tiff", "CropBreastSlide.tiff"]
    for name in names:
        facts, _ = read_pyramid(real(f"wsi/{name}"))
        with openslide.OpenSlide(real(f"wsi/{name}")) as oracle:
            assert [level.size for level in facts.levels] == list(oracle.level_dimensions)
            assert float(facts.mpp[0]) == pytest.approx(float(oracle.properties["openslide.mpp-x"]))
            power = oracle.properties.get("openslide.objective-power")
            assert facts.objective_power == (float(power) if power else None)


@pytest.mark.parametrize("missing", [{0}, {0, 1, 2, 3}, {0, 4, 8, 3, 7, 11, 2}, set(range(11)), set()])
def test_the_scanned_part_is_found_alike(tmp_path, missing):
    """4 x 3 tiles."""
    path = js.write(tmp_path / "a.tiff", js.tissue((500, 350)), js.Layout(128, missing=frozenset(missing)))
    with open_slide(path) as slide:
        assert read_pyramid(path)[0].bounds == slide._reader.facts.bounds
