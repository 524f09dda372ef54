"""DICOM frames decoded here are OpenSlide's pixels; frames stored otherwise are left to OpenSlide."""

import logging

import numpy as np
import openslide
import pytest

from slidestream.errors import ReadFailed
from slidestream.geometry import Region
from slidestream.wsi import open_slide
from slidestream.wsi.dicom_tiles import ITEM, read_frames
from slidestream.wsi.openslide_reader import OpenSlideReader
from slidestream.wsi.tile_codecs import codec_for
from slidestream.wsi.tile_table import UnusualLayoutError
from slidestream.wsi.tiled_reader import TiledReader

from . import dicom_slides as ds
from . import jpeg_slides as js

SIZE = (701, 533)
LAYOUTS = [
    ds.Layout(),
    ds.Layout(offsets="none"),
    ds.Layout(offsets="extended"),
    ds.Layout(jpeg=js.Layout(tile=240, subsampling="422"), offsets="none"),
    ds.Layout(jpeg=js.Layout(tile=128, colours="rgb")),
    ds.Layout("raw"),
    ds.Layout("jpeg2000"),
    ds.Layout("jpeg2000", offsets="extended"),
]


def patches(slide, side=150, step=97, size=SIZE):
    corners = [(x, y) for y in range(-30, size[1], step) for x in range(-40, size[0], step)]
    regions = [Region((float(x), float(y)), (float(side),) * 2) for x, y in corners]
    out = np.empty((len(corners), side, side, 3), np.uint8)
    return corners, out, slide.read_patches(regions, out)


def assert_is_openslides(path):
    with open_slide(path, mpp=0.5) as slide, openslide.OpenSlide(path) as oracle:
        assert isinstance(slide._reader, TiledReader)
        for corner, found, status in zip(*patches(slide, size=slide.size), strict=True):
            rgba = np.asarray(oracle.read_region(corner, 0, (150, 150)))
            assert status == 0
            np.testing.assert_array_equal(found, np.where(rgba[..., 3:] == 255, rgba[..., :3], 255))


@pytest.mark.parametrize("how", LAYOUTS, ids=str)
def test_native_pixels_of_every_layout_are_openslides(tmp_path, how):
    assert_is_openslides(ds.write(tmp_path / "slide", [js.tissue(SIZE)], how))


@pytest.mark.parametrize(
    "name",
    [
        "raw.dicom",
        "jpeg.dicom",
        "jpeg2000.dicom",
        "multi_frame_jpeg_camelyon_challenge_image.dcm",
        "boxes_0.dcm",
    ],
)
def test_native_pixels_of_real_files_are_openslides(real, name):
    assert_is_openslides(real(f"wsi/{name}"))


@pytest.mark.parametrize("how", [LAYOUTS[0], LAYOUTS[1], LAYOUTS[5], LAYOUTS[6]], ids=str)
def test_each_level_is_its_own_file(tmp_path, how):
    """Levels with pixels of their own, so that a mistaken file or offset shows."""
    levels = [js.tissue((1024, 768), 1), js.tissue((512, 384), 2), js.tissue((256, 192), 3)]
    path = ds.write(tmp_path / "slide", levels, how)
    with open_slide(path) as slide:
        assert isinstance(slide._reader, TiledReader)
        assert [level.size for level in slide.levels] == [(1024, 768), (512, 384), (256, 192)]
        for factor, pixels in zip((1, 2, 4), levels, strict=True):
            expected = pixels if how.syntax != "jpeg" else js.full(pixels, how.jpeg)
            found = slide.read(Region((0, 0), (1024, 768)), (1024 // factor, 768 // factor))
            np.testing.assert_array_equal(found, expected)


def test_another_series_in_the_folder_changes_nothing(tmp_path):
    path = ds.write(tmp_path / "slide", [js.tissue(SIZE, 1)], ds.Layout())
    other = ds.write(tmp_path / "other", [js.tissue(SIZE, 2)], ds.Layout())
    other.rename(tmp_path / "slide" / "second.dcm")
    assert_is_openslides(path)


def test_twice_the_spacing_is_the_average(tmp_path):
    pixels = js.tissue((512, 512))
    path = ds.write(tmp_path / "slide", [pixels], ds.Layout())
    with open_slide(path) as slide:
        assert slide._reader.facts.scales == ((1, 2, 4, 8),)
        found = slide.read(Region((0, 0), (512, 512)), (256, 256))
    mean = js.full(pixels, js.Layout(tile=128)).reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(found - mean).mean() < 3.5  # chroma of px size; tissue: below 1.3


@pytest.mark.parametrize("offsets", ["basic", "none", "extended"])
def test_a_damaged_frame_costs_the_patches_on_it(tmp_path, offsets):
    how = ds.Layout(offsets=offsets)
    pixels = js.tissue((512, 512))
    path = ds.write(tmp_path / "slide", [pixels], how)
    frame, content = ds.frames(pixels, how)[6], path.read_bytes()
    with open_slide(path) as slide:
        _, expected, fine = patches(slide, 100, 64, (512, 512))
    path.write_bytes(content.replace(frame, b"\xff\xd8" + bytes(len(frame) - 2)))
    with open_slide(path) as slide:
        assert isinstance(slide._reader, TiledReader)
        corners, found, status = patches(slide, 100, 64, (512, 512))
    assert not fine.any()
    for (x, y), a, b, code in zip(corners, expected, found, status, strict=True):
        touches = x + 100 > 256 and x < 384 and y + 100 > 128 and y < 256
        assert code == (1 if touches else 0)
        np.testing.assert_array_equal(b, 0 if touches else a)


def test_frames_of_odd_sizes_are_left_to_openslide_and_said(tmp_path, caplog):
    how = ds.Layout(jpeg=js.Layout(tile=200))
    pixels = js.tissue(SIZE)
    path = ds.write(tmp_path / "CANARY", [pixels], how)
    with caplog.at_level(logging.DEBUG, "slidestream"), open_slide(path) as slide:
        assert isinstance(slide._reader, OpenSlideReader)
        found = slide.read(Region((0, 0), SIZE), SIZE)
    np.testing.assert_array_equal(found, js.full(pixels, how.jpeg))
    assert "Read by OpenSlide: tiles of 200 x 200 px" in caplog.text
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize(
    ("how", "elements", "reason"),
    [
        (ds.Layout(pieces=3, offsets="none"), {}, "another number of items"),
        (ds.Layout(pieces=2), {}, "a frame cut into several items"),
        (ds.Layout(), {"ConcatenationUID": "1.2.3"}, "another ConcatenationUID"),
        (ds.Layout(), {"DimensionOrganizationType": "TILED_SPARSE"}, "another DimensionOrganizationType"),
        (ds.Layout(), {"PhotometricInterpretation": "YBR_PARTIAL_420"}, "another transfer syntax or colour"),
        (ds.Layout(), {"NumberOfFrames": 29}, "another number of items"),
        (ds.Layout(), {"TotalPixelMatrixFocalPlanes": 2}, "another TotalPixelMatrixFocalPlanes"),
        (ds.Layout(), {"TotalPixelMatrixRows": 999}, "0 instances have the size of one level"),
    ],
)
def test_other_ways_to_store_frames_are_not_taken_for_these(tmp_path, how, elements, reason):
    path = ds.write(tmp_path / "slide", [js.tissue(SIZE)], how, **elements)
    with pytest.raises(UnusualLayoutError, match=reason):
        read_frames(path, [SIZE])


def test_a_frame_cut_in_two_is_never_decoded(tmp_path):
    """Its bytes hold the header of its second item, of which a JPEG decoder would make false pixels."""
    path = ds.write(tmp_path / "slide", [js.tissue(SIZE)], ds.Layout())
    ((_, table),) = read_frames(path, [SIZE])
    codec, data = codec_for(table), path.read_bytes()
    offset, count = int(table.offsets[3]), int(table.counts[3])
    frame = data[offset : offset + count]
    parts = frame[8:1008], frame[1008:]
    cut = b"".join(ITEM + len(part).to_bytes(4, "little") + part for part in parts)
    assert codec.scales(frame)
    assert not codec.scales(cut)
    with pytest.raises(ReadFailed):
        codec.decode(cut, 1, np.empty((128, 128, 3), np.uint8))


def test_a_table_of_offsets_that_wraps_is_not_believed(tmp_path):
    """Beyond 4 GiB some writers let its 32 bits overflow."""
    path = ds.write(tmp_path / "slide", [js.tissue(SIZE)], ds.Layout())
    ((_, sound),) = read_frames(path, [SIZE])
    content = bytearray(path.read_bytes())
    table = content.index(b"\xfe\xff\x00\xe0") + 8
    content[table + 4 : table + 8] = (0).to_bytes(4, "little")
    path.write_bytes(content)
    ((_, found),) = read_frames(path, [SIZE])
    np.testing.assert_array_equal(found.offsets, sound.offsets)
    np.testing.assert_array_equal(found.counts, sound.counts)
