"""Plain pictures: usable as slides where the user says how large a pixel is."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from slidestream.errors import LimitExceeded, MppImplausible, MppMissing, Truncated, UnsupportedFormat
from slidestream.geometry import Region
from slidestream.wsi import open_slide

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
WHOLE = Region((0, 0), (400, 300))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_lossless_pictures_are_read_exactly(tmp_path, name):
    Image.fromarray(PIXELS).save(tmp_path / name)
    with open_slide(tmp_path / name, mpp=0.5) as slide:
        assert (slide.format, slide.size, slide.mpp) == ("picture", (400, 300), (0.5, 0.5))
        np.testing.assert_array_equal(slide.read(WHOLE, (400, 300)), PIXELS)
        over = slide.read_patch(Region((390, -5), (20, 20)), (20, 20))
        np.testing.assert_array_equal(over[5:, :10], PIXELS[:15, 390:])
        assert (over[:5] == 255).all()
        assert (over[:, 10:] == 255).all()
        assert slide.read_patch(Region((400, 0), (20, 20)), (20, 20)) is None


def test_a_jpeg_is_read_as_pillow_does(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).save(path, quality=95)
    with open_slide(path, mpp=(0.25, 0.26)) as slide:
        np.testing.assert_array_equal(slide.read(WHOLE, (400, 300)), np.asarray(Image.open(path)))
        assert slide.mpp == (0.25, 0.26)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_the_dpi_of_png_and_jpeg_is_never_trusted(tmp_path, name):
    Image.fromarray(PIXELS).save(tmp_path / name, dpi=(50800, 50800))
    with pytest.raises(MppMissing, match="--slide-mpp"):
        open_slide(tmp_path / name)


@pytest.mark.parametrize(("dpi", "error"), [(96, MppImplausible), (300, MppImplausible), (None, MppMissing)])
def test_a_flat_tiff_without_a_plausible_tag_needs_the_user(tmp_path, dpi, error):
    path = tmp_path / "a.tif"
    Image.fromarray(PIXELS).save(path, **({"dpi": (dpi, dpi)} if dpi else {}))
    with pytest.raises(error):
        open_slide(path)


def test_a_flat_tiffs_plausible_tag_is_taken(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS, resolution=(4e4, 2e4), resolutionunit="CENTIMETER", metadata=None
    )
    with pytest.raises(MppImplausible, match="apart"):
        open_slide(tmp_path / "a.tif")
    tifffile.imwrite(
        tmp_path / "b.tif", PIXELS, resolution=(4e4, 3.8e4), resolutionunit="CENTIMETER", metadata=None
    )
    with open_slide(tmp_path / "b.tif") as slide:
        assert slide.mpp == pytest.approx((0.25, 1e4 / 3.8e4))


def test_transparent_pixels_were_not_scanned(tmp_path):
    rgba = np.dstack([PIXELS, np.full((300, 400), 255, np.uint8)])
    rgba[:, :200, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png", mpp=0.5) as slide:
        assert slide.read_patch(Region((0, 0), (200, 200)), (100, 100)) is None
        found = slide.read(WHOLE, (400, 300))
        assert (found[:, :200] == 255).all()
        np.testing.assert_array_equal(found[:, 200:], PIXELS[:, 200:])


def on_white(pixels, alpha):
    share = alpha[..., None] / 255
    return np.round(pixels * share + 255 * (1 - share))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "tiled.tif"])
def test_half_transparent_pixels_lie_on_white(tmp_path, name):
    alpha = np.random.default_rng(1).integers(1, 256, (300, 400), np.uint8)
    rgba = np.dstack([PIXELS, alpha])
    if name == "a.png":
        Image.fromarray(rgba).save(tmp_path / name)
    else:
        tiles = {"tile": (256, 256)} if name == "tiled.tif" else {}
        tifffile.imwrite(tmp_path / name, rgba, photometric="rgb", extrasamples=["unassalpha"], **tiles)
    with open_slide(tmp_path / name, mpp=0.5) as slide:
        found = slide.read(WHOLE, (400, 300)).astype(float)
    assert np.abs(found - on_white(PIXELS, alpha)).max() <= 1


def test_premultiplied_pixels_are_not_multiplied_again(tmp_path):
    alpha = np.full((300, 400), 100, np.uint8)
    shown = on_white(PIXELS, alpha)
    premultiplied = np.round(PIXELS * (alpha[..., None] / 255)).astype(np.uint8)
    rgba = np.dstack([premultiplied, alpha])
    for name, options in {"a.tif": {}, "b.tif": {"tile": (256, 256)}}.items():
        path = tmp_path / name
        tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["assocalpha"], **options)
        with open_slide(path, mpp=0.5) as slide:
            assert np.abs(slide.read(WHOLE, (400, 300)) - shown).max() <= 2
    path = tmp_path / "c.tif"  # tiles that OpenSlide does not decode, and tiffslide takes for plain
    webp = {"tile": (256, 256), "compression": "webp"}
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["assocalpha"], **webp)
    with pytest.raises(UnsupportedFormat, match="premultiplied"):
        open_slide(path, mpp=0.5)


@pytest.mark.parametrize("options", [{}, {"tile": (256, 256)}])
def test_a_fourth_sample_that_may_be_anything_is_refused(tmp_path, options):
    rgba = np.dstack([PIXELS, PIXELS[..., 0]])
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unspecified"], **options)
    with pytest.raises(UnsupportedFormat, match="fourth sample of unknown meaning"):
        open_slide(tmp_path / "a.tif", mpp=0.5)


def test_palettes_become_colours(tmp_path):
    image = Image.fromarray(PIXELS).quantize(32)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", transparency=3)
    expected, index = np.asarray(image.convert("RGB")), np.asarray(image)
    with open_slide(tmp_path / "a.png", mpp=0.5) as slide:
        np.testing.assert_array_equal(slide.read(WHOLE, (400, 300)), expected)
    with open_slide(tmp_path / "b.png", mpp=0.5) as slide:
        found = slide.read(WHOLE, (400, 300))
        assert (found[index == 3] == 255).all()
        np.testing.assert_array_equal(found[index != 3], expected[index != 3])


@pytest.mark.parametrize(
    ("mode", "name", "found"),
    [
        ("L", "a.png", "grey"),
        ("L", "a.jpg", "grey"),
        ("LA", "a.png", "grey"),
        ("CMYK", "a.tif", "CMYK"),
        ("LAB", "a.tif", "CIELab"),
        ("YCbCr", "a.tif", "other than RGB"),
        ("CMYK", "a.jpg", "CMYK"),
        ("I;16", "a.png", "16-bit"),
        ("1", "a.png", "black"),
    ],
)
def test_other_pixels_are_refused(tmp_path, mode, name, found):
    image = Image.fromarray(PIXELS)
    image = Image.fromarray(PIXELS[..., 0].astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / name)
    with pytest.raises(UnsupportedFormat, match=found):
        open_slide(tmp_path / name, mpp=0.5)


def test_a_16_bit_rgb_png_is_refused_though_pillow_reads_it_as_8_bit(tmp_path):
    import imagecodecs

    path = tmp_path / "a.png"
    for pixels, mode in ((PIXELS, "RGB"), (np.dstack([PIXELS, PIXELS[..., 0]]), "RGBA")):
        path.write_bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 257))
        assert Image.open(path).mode == mode
        with pytest.raises(UnsupportedFormat, match=f"16-bit {mode} "):
            open_slide(path, mpp=0.5)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pictures_above_the_limit_are_refused_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (10_001, 10_000)).save(path, compress_level=1)
    with pytest.raises(LimitExceeded, match="100 Mpx") as error:
        open_slide(path, mpp=0.5)
    assert "pyramidal TIFF" in error.value.fix
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own bomb check
    with pytest.raises(LimitExceeded):
        open_slide(path, mpp=0.5)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_cut_short_is_truncated(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_slide(path, mpp=0.5) as slide, pytest.raises(Truncated):
        slide.thumbnail(100)


def test_the_flat_copy_of_a_real_slide(real):
    path = real("wsi/CropBreastSlide.tif")
    with open_slide(path, mpp=0.5) as slide:
        expected = np.asarray(Image.open(path).convert("RGB"))
        np.testing.assert_array_equal(slide.read(Region((0, 0), slide.size), slide.size), expected)
