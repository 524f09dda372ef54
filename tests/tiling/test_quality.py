"""Focus on real tissue, and patches and slides judged by rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from slidestream.errors import UsageError
from slidestream.geometry import Region
from slidestream.status import BLUR, OK, PEN, UNREADABLE
from slidestream.tiling.focus import blur_um
from slidestream.tiling.grid import PatchGrid
from slidestream.tiling.overview import Overview, overview
from slidestream.tiling.quality import Judged, slide_quality
from slidestream.tiling.spec import PatchSpec, QualitySpec
from slidestream.tiling.tissue import tissue_fraction
from slidestream.wsi.slide import open_slide


def blurred(pixels: np.ndarray, sigma_um: float, spacing: float) -> np.ndarray:
    sigma = sigma_um / spacing
    return np.stack([ndimage.gaussian_filter(patch, (sigma, sigma, 0)) for patch in pixels])


@pytest.fixture(scope="module")
def patches(real: Callable[[str], Path]) -> Callable[[str, float], np.ndarray]:
    """`patches(file, spacing)`: 60 patches of tissue of a real slide, uint8 (60, 224, 224, 3)."""

    def read(name: str, spacing: float) -> np.ndarray:
        with open_slide(real(name)) as slide:
            grid = PatchGrid.cover(slide.bounds, slide.spacing, PatchSpec(224, spacing, overlap=0.5))
            look = overview(slide)
            grid = grid.keep(tissue_fraction(look.mask, look.covers, grid) > 0.5).sample(60)
            out = np.empty((len(grid), 224, 224, 3), np.uint8)
            assert not slide.read_patches([patch.region for patch in grid], out).any()
            return out

    return read


SLIDES = [
    ("wsi/P-2_carotid_zoomify.tiff", 0.75),
    ("wsi/P-2_carotid_zoomify.tiff", 1.0),
    ("wsi/CMU-1-Small-Region.svs", 0.5),
    ("wsi/CMU-1-Small-Region.svs", 1.0),
]


@pytest.mark.parametrize(("name", "spacing"), SLIDES)
def test_focus_grows_with_every_blur_on_every_patch(
    patches: Callable[[str, float], np.ndarray], name: str, spacing: float
) -> None:
    sharp = patches(name, spacing)
    series = [blur_um(sharp, spacing)]
    series += [blur_um(blurred(sharp, sigma, spacing), spacing) for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert (np.diff(series, axis=0) > 0).all()


def test_focus_tells_sharp_from_blurred_patches_at_one_threshold(
    patches: Callable[[str, float], np.ndarray],
) -> None:
    """All slides and spacings pooled, so that a threshold in microns must serve them all."""
    sharp, soft = [], []
    for name, spacing in SLIDES:
        pixels = patches(name, spacing)
        sharp.append(blur_um(pixels, spacing))
        soft.append(blur_um(blurred(pixels, 2.0, spacing), spacing))
    values = np.concatenate([*sharp, *soft])
    truth = np.repeat([0, 1], len(values) // 2)
    assert roc_auc_score(truth, values) >= 0.98
    limit = QualitySpec().max_blur_um
    assert (values[truth == 0] > limit).mean() < 0.01
    assert (values[truth == 1] > limit).mean() > 0.99


def test_focus_does_not_depend_on_contrast_or_brightness(
    patches: Callable[[str, float], np.ndarray],
) -> None:
    pixels = patches("wsi/CMU-1-Small-Region.svs", 0.5)[:20]
    pale = (pixels.astype(np.float32) * 0.5 + 120).round().astype(np.uint8)
    np.testing.assert_allclose(blur_um(pale, 0.5), blur_um(pixels, 0.5), rtol=0.02)


def test_a_sine_has_the_length_that_theory_gives() -> None:
    """For a wave of angular frequency w px the measures are (sin w)², (sin 2w)² and (2 - 2 cos w)² of it."""
    x = np.arange(224)
    for period in (16.0, 32.0):
        w = 2 * np.pi / period
        wave = np.round(128 + 100 * np.sin(w * x)).astype(np.uint8)
        patch = np.broadcast_to(wave[None, None, :, None], (1, 224, 224, 3))
        tenengrad, brenner = (2 * np.sin(w)) ** 2, (2 * np.sin(2 * w)) ** 2
        laplacian = (2 - 2 * np.cos(w)) ** 2
        expected = (tenengrad * brenner / laplacian**2) ** 0.25
        assert blur_um(patch, 1.0)[0] == pytest.approx(expected, rel=0.05)
        assert blur_um(patch, 0.25)[0] == pytest.approx(expected / 4, rel=0.05)


@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(8, 20), st.integers(8, 20), st.just(3))))
def test_any_patch_has_a_finite_length_or_none(pixels: np.ndarray) -> None:
    found = blur_um(pixels, 0.5)
    flat = np.array([(patch @ np.array([0.299, 0.587, 0.114])).std() < 1.99 for patch in pixels])
    assert np.isnan(found[flat]).all()
    assert not np.isinf(found).any()
    assert (found[~np.isnan(found)] >= 0).all()


class Fake:
    """Patches of noise, 100 px wide on a slide of 1,000 x 100 px at 1 µm; the third cannot be decoded."""

    def read_patches(self, regions: Sequence[Region], out: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(0)
        status = np.zeros(len(regions), np.uint8)
        for row, region in enumerate(regions):
            number = round(region.origin[0] / 100)
            noise = rng.integers(0, 256, out[row].shape).astype(np.uint8)
            soft = 128 + 20 * (ndimage.gaussian_filter(noise.astype(np.float32), (6, 6, 0)) - 128)
            out[row] = soft.clip(0, 255) if number in (4, 5) else noise
            out[row] = 230 if number == 7 else out[row]
            status[row] = UNREADABLE if number == 2 else OK
        return status


def look_with_ink() -> Overview:
    """On px of 10 µm: ink on the sixth patch, and on a twentieth of the seventh."""
    ink = np.zeros((10, 100), np.uint8)
    ink[:, 50:60] = 2
    ink[:, 60] = 4
    ink[5:, 60] = 0
    mask = ink == 0
    return Overview(
        mask, (1000, 100), np.full((10, 100, 3), 200, np.uint8), mask.astype(np.uint8), "bright", ink
    )


REGIONS = [Region((100.0 * i, 0.0), (100.0, 100.0)) for i in range(10)]


def judged(*exclude: str) -> list[int]:
    source = Judged(Fake(), look_with_ink(), QualitySpec(exclude), 1.0)
    out = np.empty((10, 100, 100, 3), np.uint8)
    found: list[int] = source.read_patches(REGIONS, out).tolist()
    return found


def test_the_status_says_by_which_rule_a_patch_is_excluded() -> None:
    assert judged() == [0, 0, UNREADABLE, 0, 0, 0, 0, 0, 0, 0]
    assert judged("pen") == [0, 0, UNREADABLE, 0, 0, PEN, 0, 0, 0, 0]
    assert judged("blur") == [0, 0, UNREADABLE, 0, BLUR, BLUR, 0, 0, 0, 0]
    assert judged("pen", "blur") == [0, 0, UNREADABLE, 0, BLUR, PEN, 0, 0, 0, 0]
    assert judged("blur", "pen") == [0, 0, UNREADABLE, 0, BLUR, BLUR, 0, 0, 0, 0]


def test_patches_are_measured_whatever_the_rules() -> None:
    source = Judged(Fake(), look_with_ink(), QualitySpec(), 1.0)
    found = source.measure(REGIONS, np.empty((10, 100, 100, 3), np.uint8))
    np.testing.assert_allclose(found.pen, [0, 0, 0, 0, 0, 1, 0.05, 0, 0, 0], atol=1e-9)
    assert np.isnan(found.blur_um[[2, 7]]).all()
    assert found.brightness[7] == pytest.approx(230, abs=0.1)
    assert np.isnan(found.brightness[2])


def test_a_coarse_patch_is_not_called_blurred_for_its_pixels(
    patches: Callable[[str, float], np.ndarray],
) -> None:
    pixels = patches("wsi/P-2_carotid_zoomify.tiff", 4.0)

    class Source:
        def read_patches(self, regions: Sequence[Region], out: np.ndarray) -> np.ndarray:
            out[:] = pixels[: len(out)]
            return np.zeros(len(out), np.uint8)

    source = Judged(Source(), look_with_ink(), QualitySpec(("blur",)), 4.0)
    out = np.empty((10, 224, 224, 3), np.uint8)
    assert not source.read_patches(REGIONS, out).any()


def test_a_slide_is_measured_in_square_millimetres() -> None:
    found = slide_quality(look_with_ink(), (1.0, 1.0))
    assert found.tissue_mm2 == pytest.approx((1000 - 100 - 5) * 100 / 1e6)
    assert found.pen_red_mm2 == pytest.approx(100 * 100 / 1e6)
    assert found.pen_blue_mm2 == pytest.approx(5 * 100 / 1e6, abs=1e-4)
    assert (found.pen_black_mm2, found.pen_green_mm2) == (0, 0)
    assert found.pieces == 2
    assert found.tissue == found.glass == pytest.approx(200, abs=0.1)


def test_rules_are_known_by_name() -> None:
    assert QualitySpec.from_dict(QualitySpec(("pen",)).to_dict()) == QualitySpec(("pen",))
    with pytest.raises(UsageError, match="'pin'"):
        QualitySpec(("pin",))
    with pytest.raises(UsageError, match="max_pen"):
        QualitySpec(max_pen=2.0)
