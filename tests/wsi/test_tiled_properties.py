"""Any container, codec, size, tile, subsampling, gap, patch, overlap and spacing: OpenSlide's pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide
import tifffile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from slidestream.tiling.grid import PatchGrid
from slidestream.tiling.spec import PatchSpec
from slidestream.wsi import open_slide
from slidestream.wsi.tiled_reader import TiledReader

from . import dicom_slides as ds
from . import jpeg2000_slides as j2
from . import jpeg_slides as js
from . import philips_slides as ps

MPP = 0.5
TILES = st.sampled_from([32, 48, 64, 112])
SIDES = st.integers(33, 300)
SUBSAMPLINGS = st.sampled_from(["444", "420", "422"])
QUALITIES = st.sampled_from([30, 80, 95])


@dataclass(frozen=True)
class Case:
    """One slide to write: its size, tiles, which are missing, and the container with its codec."""

    size: tuple[int, int]
    container: str
    how: object
    seed: int

    def write(self, folder: Path) -> Path:
        pixels = js.tissue(self.size, self.seed)
        match self.container:
            case "tiff":
                return js.write(folder / "a.tiff", pixels, self.how)
            case "lossless":
                return _lossless(folder / "a.tiff", pixels, self.how)
            case "aperio":
                return j2.write(folder / "a.svs", [pixels], self.how)
            case "philips":
                return ps.write(folder / "a.tiff", [pixels], self.how, [self.how.missing])
        for old in folder.glob("*.dcm"):
            old.unlink()
        return ds.write(folder, [pixels], self.how)


def _lossless(path, pixels, how):
    tile, compression, predictor = how
    options = {"compression": compression, "predictor": predictor and compression is not None}
    tifffile.imwrite(path, pixels, tile=(tile, tile), photometric="rgb", metadata=None, **options)
    return path


@st.composite
def cases(draw):
    size, tile = (draw(SIDES), draw(SIDES)), draw(TILES)
    container = draw(st.sampled_from(["tiff", "lossless", "aperio", "philips", "dicom"]))
    count = -(-size[0] // tile) * -(-size[1] // tile)
    missing = draw(st.frozensets(st.integers(0, count - 1), max_size=min(3, count - 1)))
    rgb = draw(st.booleans()) and container != "philips"
    jpeg = js.Layout(
        tile,
        "rgb" if rgb else "ycbcr",
        "444" if rgb else draw(SUBSAMPLINGS),
        draw(QUALITIES),
        draw(st.booleans()) and container == "tiff",
        missing if container in ("tiff", "philips") else frozenset(),
    )
    match container:
        case "lossless":
            aligned = 3 * tile**2 % 512 == 0  # else tifffile pads raw tiles, which libtiff refuses
            kinds = [None, "zlib", "lzw"] if aligned else ["zlib", "lzw"]
            how = (tile, draw(st.sampled_from(kinds)), draw(st.booleans()))
        case "aperio":
            how = j2.Layout(draw(st.sampled_from([j2.YCBCR, j2.RGB])), tile, None, missing=missing)
        case "dicom":
            syntax = draw(st.sampled_from(["raw", "jpeg", "jpeg2000"]))
            how = ds.Layout(syntax, jpeg, draw(st.sampled_from(["basic", "none", "extended"])))
        case _:
            how = jpeg
    return Case(size, container, how, draw(st.integers(0, 5)))


BOUNDED = settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def whole(path):
    """Level 0 by OpenSlide on white, and which of its px were scanned."""
    with openslide.OpenSlide(path) as oracle:
        rgba = np.asarray(oracle.read_region((0, 0), 0, oracle.dimensions))
    scanned = rgba[..., 3] == 255
    return np.where(scanned[..., None], rgba[..., :3], np.uint8(255)), scanned


def patches(slide, spec):
    assume(spec.size_px * spec.spacing / MPP <= min(slide.bounds.extent))
    grid = PatchGrid.cover(slide.bounds, slide.spacing, spec)
    regions = [patch.region for patch in grid][:60]
    out = np.full((len(regions), spec.size_px, spec.size_px, 3), 7, np.uint8)
    return regions, out, slide.read_patches(regions, out)


@BOUNDED
@given(case=cases(), side=st.integers(5, 120), overlap=st.floats(0, 0.6))
def test_native_patches_are_openslides(tmp_path, case, side, overlap):
    path = case.write(tmp_path)
    shown, scanned = whole(path)
    with open_slide(path, mpp=MPP) as slide:
        assert isinstance(slide._reader, TiledReader)
        assert slide.size == shown.shape[1::-1]
        for region, found, code in zip(*patches(slide, PatchSpec(side, MPP, overlap)), strict=True):
            x, y = map(int, region.origin)
            part = np.s_[y : y + side, x : x + side]
            assert code == (0 if scanned[part].any() else 2)
            np.testing.assert_array_equal(found, shown[part] if code == 0 else 0)


@BOUNDED
@given(
    case=cases(),
    side=st.integers(4, 40),
    overlap=st.floats(0, 0.5),
    spacing=st.sampled_from([0.6, 1.0, 1.002, 1.3, 2.0, 4.0]) | st.floats(0.5, 5.0),
)
def test_coarser_patches_are_openslides_pixels_reduced(tmp_path, case, side, overlap, spacing):
    path = case.write(tmp_path)
    shown, scanned = whole(path)
    with open_slide(path, mpp=MPP) as slide:
        factor = max(f for f in slide._reader.facts.scales[0] if f <= 1.01 * spacing / MPP)
        reduced = Image.fromarray(shown).reduce(factor)
        errors = []
        for region, found, code in zip(*patches(slide, PatchSpec(side, spacing, overlap)), strict=True):
            x, y, right, bottom = (int(v) for v in (*region.origin, *region.end))
            assert code == 0 or not scanned[y:bottom, x:right].any()
            if code == 0:
                left, top, *far = (value / factor for value in (*region.origin, *region.end))
                inside = (left, top, min(far[0], reduced.width), min(far[1], reduced.height))
                expected = np.asarray(reduced.resize((side, side), Image.Resampling.BICUBIC, box=inside))
                errors.append(np.abs(found.astype(int) - expected))
    if not errors:
        return
    if factor == 1:
        # The same filter, which rounds and clips between the axes, and begins with either by the cut's shape.
        assert np.max(errors) <= 12
        assert np.mean(errors) < 0.5
    else:
        assert np.mean(errors) < 5  # chroma of px size in a few px; tissue: below 1.3
