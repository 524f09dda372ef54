"""Tiles decoded here are OpenSlide's pixels; a reduced level is the average of them."""

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from slidestream.geometry import Region
from slidestream.wsi import open_slide
from slidestream.wsi.tiled_reader import TiledReader

from . import jpeg_slides as js

LAYOUTS = [
    js.Layout(subsampling="420"),
    js.Layout(subsampling="420", apart=True),
    js.Layout(subsampling="422", tile=240),
    js.Layout(subsampling="444"),
    js.Layout(subsampling="440"),
    js.Layout(tile=240, colours="rgb", quality=30, apart=True),
    js.Layout(colours="rgb"),
]


def read_all(slide, regions, side):
    out = np.full((len(regions), side, side, 3), 7, np.uint8)
    return out, slide.read_patches(regions, out)


def grid(size, side, start=(0, 0), step=None):
    step = step or side
    return [
        Region((float(x), float(y)), (float(side), float(side)))
        for y in range(start[1], size[1], step)
        for x in range(start[0], size[0], step)
    ]


def on_white(rgba):
    return np.where(rgba[..., 3:] == 255, rgba[..., :3], 255)


def assert_equals_openslide(path, regions, side):
    with open_slide(path, mpp=0.5) as slide, openslide.OpenSlide(path) as oracle:
        assert isinstance(slide._reader, TiledReader)
        pixels, status = read_all(slide, regions, side)
        for region, found, code in zip(regions, pixels, status, strict=True):
            corner = tuple(int(v) for v in region.origin)
            rgba = np.asarray(oracle.read_region(corner, 0, (side, side)))
            assert code == (0 if rgba[..., 3].any() else 2)
            np.testing.assert_array_equal(found, on_white(rgba) if code == 0 else 0)


@pytest.mark.parametrize("how", LAYOUTS, ids=str)
def test_native_pixels_of_every_layout_are_openslides(tmp_path, how):
    size = (701, 533)
    path = js.write(tmp_path / "a.tiff", js.tissue(size), how)
    assert_equals_openslide(path, grid(size, 224, (-37, -21)) + grid(size, 224), 224)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "P-2_carotid_zoomify.tiff"])
def test_native_pixels_of_real_slides_are_openslides(real, name):
    path = real(f"wsi/{name}")
    with openslide.OpenSlide(path) as oracle:
        w, h = oracle.dimensions
    near = grid((2300, 1100), 224, (1, -100))
    far = [Region((w - 1000.0 + 224 * i, h - 300.0 + 60 * i), (224.0, 224.0)) for i in range(5)]
    assert_equals_openslide(path, near + far, 224)


def test_higher_levels_are_their_own_tiles(real):
    """OpenSlide would interpolate here, so the tiles are compared with themselves."""
    path = real("wsi/P-2_carotid_zoomify.tiff")
    with tifffile.TiffFile(path) as tiff, open_slide(path) as slide:
        for level, (x, y) in [(3, (101, 700)), (4, (30, 1000)), (5, (3, 501))]:
            page = next(p for p in tiff.pages if (p.imagewidth, p.imagelength) == slide.levels[level].size)
            factor, side = slide.levels[level].downsample[0], 250
            found = slide.read(Region((x * factor, y * factor), (side * factor,) * 2), (side, side))
            np.testing.assert_array_equal(found, page.asarray()[y : y + side, x : x + side])


def recolour(jpeg):
    """As some scanners write RGB: components numbered 0, 1, 2 and no word of the colours."""
    tables, rest = js.split(jpeg)
    at = rest.index(b"\xff\xee")
    rest = rest[:at] + rest[at + 16 :]
    frame, scan = rest.index(b"\xff\xc0"), rest.index(b"\xff\xda")
    content = bytearray(rest)
    for i in range(3):
        content[frame + 10 + 3 * i] = content[scan + 5 + 2 * i] = i
    return tables[:-2] + bytes(content[2:])


def test_rgb_whose_components_are_not_named_keeps_its_colours(tmp_path, monkeypatch):
    encode = js.encode
    monkeypatch.setattr(js, "encode", lambda tile, how: recolour(encode(tile, how)))
    path = js.write(tmp_path / "a.tiff", js.tissue((500, 300)), js.Layout(colours="rgb"))
    assert_equals_openslide(path, grid((500, 300), 200), 200)


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "P-2_carotid_zoomify.tiff"])
@pytest.mark.parametrize("how", LAYOUTS, ids=str)
def test_reduced_while_decoding_is_the_average_within_two_grey_values(real, tmp_path, name, how):
    with openslide.OpenSlide(real(f"wsi/{name}")) as slide:
        corner = (300, 800) if "CMU" in name else (6240, 22400)
        pixels = np.asarray(slide.read_region(corner, 0, (1029, 773)))[..., :3]
    path = js.write(tmp_path / "a.tiff", pixels, how)
    shown = js.full(pixels, how).astype(np.float64)
    with open_slide(path) as slide:
        for factor in slide._reader.facts.scales[0][1:]:
            w, h = 1029 // factor, 773 // factor
            found = slide.read(Region((0, 0), (w * factor, h * factor)), (w, h))
            mean = shown[: h * factor, : w * factor].reshape(h, factor, w, factor, 3).mean((1, 3))
            error = np.abs(found - mean)
            assert error.mean() < 1.3
            edges = np.concatenate([error[:, -1].ravel(), error[-1].ravel()])
            assert edges.mean() < 2  # the green padding does not bleed in


@st.composite
def slides(draw):
    colours = draw(st.sampled_from(["ycbcr", "rgb"]))
    subsampling = draw(st.sampled_from(["420", "422", "444"])) if colours == "ycbcr" else "444"
    tile = draw(st.sampled_from([32, 48, 64, 128]))
    size = draw(st.integers(20, 300)), draw(st.integers(20, 300))
    count = -(-size[0] // tile) * -(-size[1] // tile)
    missing = draw(st.frozensets(st.integers(0, count - 1), max_size=min(3, count - 1)))
    how = js.Layout(tile, colours, subsampling, draw(st.sampled_from([30, 80])), draw(st.booleans()), missing)
    return size, how


BOUNDED = settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@BOUNDED
@given(kind=slides(), side=st.integers(5, 150), step=st.integers(20, 90), start=st.integers(-30, 30))
def test_any_batch_is_the_tiles_it_covers(tmp_path, kind, side, step, start):
    size, how = kind
    pixels = js.tissue(size)
    path = js.write(tmp_path / "a.tiff", pixels, how)
    regions = grid(size, side, (start, start), step)[:40]
    shown, scanned = js.full(pixels, how), js.scanned(pixels, how)
    with open_slide(path) as slide:
        found, status = read_all(slide, regions, side)
    reach = 200
    shown = np.pad(shown, ((reach, reach), (reach, reach), (0, 0)), constant_values=255)
    scanned = np.pad(scanned, reach)
    for region, patch, code in zip(regions, found, status, strict=True):
        x, y = (int(v) + reach for v in region.origin)
        part = np.s_[y : y + side, x : x + side]
        assert code == (0 if scanned[part].any() else 2)
        np.testing.assert_array_equal(patch, shown[part] if code == 0 else 0)


@BOUNDED
@given(
    kind=slides(),
    spacing=st.sampled_from([1.0, 1.3, 2.0, 2.004, 3.7, 4.0, 8.0]) | st.floats(1.0, 12.0),
    side=st.integers(3, 60),
    origin=st.tuples(st.floats(-50, 200), st.floats(-50, 200)),
)
def test_one_truth_for_patches_alone_and_in_batches(tmp_path, kind, spacing, side, origin):
    size, how = kind
    path = js.write(tmp_path / "a.tiff", js.tissue(size), how)
    extent = (side * spacing,) * 2
    corners = [origin, (0.0, 0.0), (float(int(origin[0])), 2.0), (size[0] - 3.0, size[1] - extent[1])]
    regions = [Region(corner, extent) for corner in corners]
    with open_slide(path) as slide:
        found, status = read_all(slide, regions, side)
    with open_slide(path) as slide:
        alone = [slide.read_patch(region, (side, side)) for region in regions]
    for patch, code, expected in zip(found, status, alone, strict=True):
        assert code == (0 if expected is not None else 2)
        np.testing.assert_array_equal(patch, 0 if expected is None else expected)


def test_one_truth_where_a_patch_is_too_large_for_one_piece(tmp_path):
    path = js.write(tmp_path / "a.tiff", js.tissue((700, 500)), js.Layout())
    regions = [Region((-800.0, -600.0), (2400.0, 1600.0)), Region((900.0, 0.0), (560.0, 560.0))]
    out = np.empty((2, 8, 8, 3), np.uint8)
    with open_slide(path) as slide:
        assert slide.read_patches(regions, out).tolist() == [0, 2]
        np.testing.assert_array_equal(out[0], slide.read_patch(regions[0], (8, 8)))


@BOUNDED
@given(
    kind=slides(),
    scale=st.sampled_from([2.0, 2.004, 2.5, 4.0, 8.0]),
    origin=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_any_reduced_patch_is_the_average_resized(tmp_path, kind, scale, origin):
    size, how = kind
    side = int(min((size[i] - origin[i]) / scale for i in range(2)))
    if side < 4 or how.missing:
        return
    pixels = js.tissue(size)
    path = js.write(tmp_path / "a.tiff", pixels, how)
    with open_slide(path) as slide:
        found = slide.read(Region(tuple(map(float, origin)), (side * scale,) * 2), (side, side))
        factor = max(f for f in slide._reader.facts.scales[0] if f <= scale)
    mean = Image.fromarray(js.full(pixels, how)).reduce(factor)
    box = (*(o / factor for o in origin), *((o + side * scale) / factor for o in origin))
    expected = np.asarray(mean.resize((side, side), Image.Resampling.BICUBIC, box=box))
    assert np.abs(found.astype(int) - expected).mean() < 3.5  # chroma of px size; tissue: below 1.3
