"""What opens, what does not, and what the user is told."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from slidestream.errors import InputError, InputNotFound, Truncated, UnsupportedFormat
from slidestream.geometry import Region
from slidestream.wsi import open_slide

PIXELS = np.random.default_rng(0).integers(0, 256, (600, 700, 3), np.uint8)
RESOLUTION = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER", "metadata": None}
TILED = {"tile": (256, 256), **RESOLUTION}


@pytest.mark.parametrize(
    ("name", "code", "found"),
    [
        ("svs_mutants/empty.svs", "UNSUPPORTED_FORMAT", "An empty file"),
        ("svs_mutants/header_only_8b.svs", "TRUNCATED", "ends before"),
        ("svs_mutants/truncated_50pct.svs", "TRUNCATED", "ends before"),
        ("broken.svs", "UNSUPPORTED_FORMAT", "neither TIFF, DICOM, PNG nor JPEG"),
        ("unopenable.tiff", "UNSUPPORTED_FORMAT", "compression 52479"),
        ("tifftools/bad_datatype.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/bad_double_reference.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/bad_header1.tif", "UNSUPPORTED_FORMAT", "neither TIFF"),
        ("tifftools/bad_header2.tif", "UNSUPPORTED_FORMAT", "damaged"),
        ("tifftools/bad_ifd_offset.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/bad_jpeg.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/bad_jpeg2.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/bad_strip_offset.tif", "TRUNCATED", "beyond its 453 bytes"),
        ("tifftools/bad_subifd_offset.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/bad_tag_offset.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/bad_unicode.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/good_jpeg.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
        ("tifftools/good_single.tif", "UNSUPPORTED_FORMAT", "8-bit grey"),
    ],
)
def test_malformed_files(real, name, code, found):
    with pytest.raises(InputError) as error:
        open_slide(real(f"malformed/{name}"), mpp=0.5)
    assert error.value.code == code
    assert found in error.value.cause


def test_nothing_there(tmp_path):
    with pytest.raises(InputNotFound):
        open_slide(tmp_path / "no.svs")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"%PDF-1.7 Mrs Example", "a PDF"),
        (b"PK\3\4 Mrs Example", "a ZIP archive"),
        (b"Mrs Example, born 1950", "neither TIFF, DICOM, PNG nor JPEG"),
        (b"II*\0", "damaged|ends before"),
    ],
)
def test_other_files_are_named_but_never_quoted(tmp_path, content, found):
    path = tmp_path / "a.svs"
    path.write_bytes(content)
    with pytest.raises((UnsupportedFormat, Truncated), match=found) as error:
        open_slide(path, mpp=0.5)
    assert "Example" not in str(error.value)


@pytest.mark.parametrize(
    ("pixels", "options", "found"),
    [
        (PIXELS[..., 0].astype(np.uint16), TILED, "16-bit grey"),
        (PIXELS.astype(np.uint16) * 257, {"photometric": "rgb", **TILED}, "16-bit RGB"),
        (PIXELS[..., 0], TILED, "8-bit grey"),
        (PIXELS[..., 0].astype(np.float32), TILED, "32-bit signed or floating-point"),
        (
            np.moveaxis(PIXELS, 2, 0).copy(),
            {"photometric": "rgb", "planarconfig": "separate", **TILED},
            "plane",
        ),
        (np.stack([PIXELS[..., 0]] * 5), {"photometric": "minisblack", **TILED}, "8-bit grey"),
        (PIXELS, {"photometric": "rgb", "extratags": [(274, "H", 1, 3, True)], **TILED}, "orientation 3"),
        (np.dstack([PIXELS, PIXELS[..., 0]]), {"photometric": "separated", **TILED}, "CMYK"),
        (PIXELS[..., 0].astype(np.uint16), RESOLUTION, "16-bit grey"),
        (PIXELS[..., 0], {"compression": "lzma", **TILED}, "8-bit grey"),
    ],
)
def test_tiffs_that_are_no_colour_slides_are_refused(tmp_path, pixels, options, found):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, pixels, **options)
    with pytest.raises(UnsupportedFormat, match=found) as error:
        open_slide(path)
    assert "8-bit RGB" in error.value.fix


def test_a_copy_cut_short_whose_directories_come_first_is_truncated(tmp_path, write_slide):
    whole = write_slide(tmp_path / "a.tiff", np.repeat(np.repeat(PIXELS, 3, 0), 3, 1), 0.5)
    cut = tmp_path / "b.tiff"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(Truncated):
        open_slide(cut)
    open_slide(whole).close()


def test_directories_that_form_a_loop_are_refused(tmp_path, write_slide):
    path = write_slide(tmp_path / "a.tiff", PIXELS, 0.5, levels=3)
    with tifffile.TiffFile(path) as tiff:
        second, last = tiff.pages[1].offset, tiff.pages[2]
        link = last.offset + 2 + 12 * len(last.tags)
    with open(path, "r+b") as file:
        file.seek(link)
        file.write(second.to_bytes(4, "little"))
    with pytest.raises(UnsupportedFormat, match="loop"):
        open_slide(path)


def test_one_tile_of_many_beyond_the_end_is_one_bad_tile(tmp_path, write_slide):
    path = write_slide(tmp_path / "a.tiff", np.zeros((256 * 12, 256 * 12, 3), np.uint8), 0.5)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 100)
    with open_slide(path) as slide:
        assert slide.read_patch(Region((0, 0), (256, 256)), (256, 256)) is not None


@pytest.mark.parametrize("compression", ["webp", "jpegxl", "lzma", "lerc"])
def test_tiles_that_openslide_cannot_decode_fall_to_tiffslide(tmp_path, compression):
    path = tmp_path / "a.tiff"
    smooth = np.repeat(np.repeat(PIXELS[::4, ::4], 4, 0), 4, 1)[:599, :699]
    halved = smooth[:598, :698].reshape(299, 2, 349, 2, 3).mean((1, 3)).round().astype(np.uint8)
    shared = {"photometric": "rgb", "compression": compression}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(smooth, subifds=1, **shared, **TILED)
        tiff.write(halved, subfiletype=1, tile=(256, 256), **shared)
    with open_slide(path) as slide:
        assert slide.format == "tiff"
        assert slide.mpp == (0.5, 0.5)
        assert [level.size for level in slide.levels] == [(699, 599), (349, 299)]
        for x, y in [(0, 0), (317, 211), (571, 471)]:
            found = slide.read_patch(Region((x, y), (128, 128)), (128, 128))
            np.testing.assert_array_equal(found, smooth[y : y + 128, x : x + 128])
        for x, y in [(0, 0), (100, 50), (249, 209)]:
            found = slide.read(Region((2 * x, 2 * y), (200, 180)), (100, 90))
            np.testing.assert_array_equal(found, halved[y : y + 90, x : x + 100])
        over = slide.read(Region((-10, 549), (100, 100)), (100, 100))
        np.testing.assert_array_equal(over[:50, 10:], smooth[549:, :90])
        assert (over[50:] == 255).all()
        assert (over[:, :10] == 255).all()
        assert slide.read_patch(Region((699, 0), (9, 9)), (9, 9)) is None


def test_an_empty_tile_through_tiffslide_was_not_scanned(tmp_path):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression="webp", **TILED)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags["TileByteCounts"]
        counts, at = list(tag.value), tag.valueoffset
    counts[4] = 0
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(np.array(counts, "<u4").tobytes())
    with open_slide(path) as slide:
        assert slide.read_patch(Region((256, 256), (256, 256)), (256, 256)) is None
        edge = slide.read_patch(Region((206, 300), (100, 100)), (100, 100))
        np.testing.assert_array_equal(edge[:, :50], PIXELS[300:400, 206:256])
        assert (edge[:, 50:] == 255).all()


def test_a_damaged_tile_through_tiffslide_fails_alone(tmp_path):
    from slidestream.errors import ReadFailed

    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression="webp", **TILED)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[0]
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(b"garbage" * 9)
    with open_slide(path) as slide:
        with pytest.raises(ReadFailed):
            slide.read_patch(Region((10, 10), (100, 100)), (100, 100))
        found = slide.read_patch(Region((256, 0), (256, 256)), (256, 256))
        np.testing.assert_array_equal(found, PIXELS[:256, 256:512])


def test_transparency_is_composited_on_white(tmp_path):
    path = tmp_path / "a.tiff"
    alpha = np.full((600, 700), 255, np.uint8)
    alpha[:, :300] = 0
    alpha[300:, 300:] = 150
    rgba = np.dstack([np.full((600, 700, 3), 60, np.uint8), alpha])
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["unassalpha"], **TILED)
    with open_slide(path) as slide:
        assert slide.read_patch(Region((0, 0), (300, 300)), (300, 300)) is None
        assert slide.read_patch(Region((0, 0), (301, 300)), (150, 150)) is not None
        assert (slide.read(Region((350, 0), (200, 200)), (80, 80)) == 60).all()
        half = slide.read(Region((350, 350), (200, 200)), (80, 80)).astype(int)
        assert np.abs(half - (60 * 150 + 255 * 105) / 255).max() <= 1
        _, scanned = slide.overview(1.0, 4000)
        assert not scanned[:, :149].any()
        assert scanned[:, 151:].all()


def test_palette_tiles_read_as_their_colours(tmp_path):
    path = tmp_path / "a.tiff"
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(path, PIXELS[..., 0], photometric="palette", colormap=colours * 257, **TILED)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(
            slide.read(Region((0, 0), (700, 600)), (700, 600)), colours.T[PIXELS[..., 0]].astype(np.uint8)
        )


def test_a_mirax_index_without_its_data_is_not_a_picture(tmp_path):
    path = tmp_path / "a.mrxs"
    Image.fromarray(PIXELS).save(path, format="JPEG")
    with pytest.raises(UnsupportedFormat, match="MIRAX"):
        open_slide(path, mpp=0.25)


def test_radiology_is_not_a_slide(real, tmp_path):
    path = real("radiology/dicom2nifti/generic/compressed_rle/001/IM-0001-0002-0001.dcm")
    for target in (path, path.parent):
        with pytest.raises(UnsupportedFormat, match="MR image: a radiology series"):
            open_slide(target, mpp=0.5)
    other = tmp_path / "b.svs"
    shutil.copy(path, other)
    with pytest.raises(UnsupportedFormat, match="radiology"):
        open_slide(other)
