"""The table of colours against the same formulas taken pixel by pixel in double precision."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from slidestream.errors import StainUnfit
from slidestream.stain.fitting import fit
from slidestream.stain.reference import reference
from slidestream.stain.spec import METHODS, StainFit
from slidestream.stain.table import apply, colour_table

FIT = StainFit("macenko", ((0.66, 0.72, 0.2), (0.2, 0.93, 0.3)), (1.4, 1.2))
LAB = StainFit("reinhard", lab_mean=(67.0, 36.0, -38.0), lab_std=(13.0, 8.0, 11.0))


def colours() -> NDArray[np.uint8]:
    """Patches (2, 100, 150, 3) of any colours, with black, white and pure ones among them."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 100, 150, 3), dtype=np.uint8)
    pixels[0, 0, :8] = [[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    return pixels


def looked_up(found: StainFit, target: StainFit, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cast("NDArray[np.uint8]", apply(found, target, torch.from_numpy(patches)).numpy())


def test_stains_are_exchanged_and_scaled() -> None:
    target = reference("macenko")
    od = -np.log((colours().reshape(-1, 3) + 1.0) / 240)
    amounts = np.linalg.lstsq(np.array(FIT.stains).T, od.T, rcond=None)[0].T
    scaled = amounts * np.array(target.strengths) / np.array(FIT.strengths)
    expected = 240 * np.exp(-scaled @ np.array(target.stains)) - 1
    np.testing.assert_array_equal(
        looked_up(FIT, target, colours()).reshape(-1, 3), expected.round().clip(0, 255)
    )


def test_lab_is_moved_as_scikit_image_does() -> None:
    target = reference("reinhard")
    lab = rgb2lab(colours())
    moved = (lab - LAB.lab_mean) / LAB.lab_std * target.lab_std + target.lab_mean
    expected = np.round(lab2rgb(moved) * 255)
    away = np.abs(looked_up(LAB, target, colours()) - expected)
    assert away.max() <= 1
    assert (away > 0).mean() < 1e-3, "rounding in the middle of two levels"


def test_the_same_lab_gives_the_same_colours() -> None:
    np.testing.assert_array_equal(looked_up(LAB, LAB, colours()), colours())


def test_what_is_of_the_two_stains_comes_back_unchanged() -> None:
    amounts = np.random.default_rng(0).uniform(0, 1.5, (1, 80, 80, 2))
    pure = (240 * np.exp(-amounts @ np.array(FIT.stains)) - 1).round().astype(np.uint8)
    assert np.abs(looked_up(FIT, FIT, pure).astype(int) - pure).max() <= 1


@pytest.mark.parametrize("fitted", [FIT, LAB])
def test_blank_patches_are_unchanged_among_others(fitted: StainFit) -> None:
    rng = np.random.default_rng(0)
    glass = rng.integers(215, 256, (64, 64, 3), dtype=np.uint8)
    dusty = glass.copy()
    dusty[30:33, 30:33] = 20
    tissue = rng.integers(60, 200, (64, 64, 3), dtype=np.uint8)
    after = looked_up(fitted, reference(fitted.method), np.stack([glass, tissue, dusty]))
    np.testing.assert_array_equal(after[0], glass)
    np.testing.assert_array_equal(after[2], dusty)
    assert (after[1] != tissue).mean() > 0.5


def test_results_do_not_depend_on_the_batch() -> None:
    target = reference("macenko")
    together = looked_up(FIT, target, colours())
    np.testing.assert_array_equal(
        together, np.concatenate([looked_up(FIT, target, p[None]) for p in colours()])
    )


def test_strided_and_empty_batches_are_taken() -> None:
    target = reference("macenko")
    flipped = torch.from_numpy(colours()).permute(0, 2, 1, 3)
    assert torch.equal(apply(FIT, target, flipped), apply(FIT, target, flipped.contiguous()))
    assert apply(FIT, target, torch.empty(0, 8, 8, 3, dtype=torch.uint8)).shape == (0, 8, 8, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_bytes() -> None:
    target = reference("macenko")
    on_gpu = colour_table(FIT, target)(torch.from_numpy(colours()).cuda()).cpu().numpy()
    np.testing.assert_array_equal(on_gpu, looked_up(FIT, target, colours()))


def test_extreme_parameters_stay_finite() -> None:
    nearly_one = StainFit("macenko", ((0.6, 0.7, 0.38), (0.6, 0.7001, 0.38)), (0.001, 0.001))
    table = colour_table(nearly_one, StainFit("macenko", FIT.stains, (50.0, 50.0))).colours
    assert table.shape == (256**3, 3)
    assert set(table[:: 256**2 // 8].unique().tolist()) <= set(range(256))


COLOUR = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def pictures(draw: st.DrawFn) -> NDArray[np.uint8]:
    """One colour, two in any proportion, one odd pixel, a blend of three, or noise: (1, 64, 64, 3)."""
    first, second, third = draw(COLOUR), draw(COLOUR), draw(COLOUR)
    kind = draw(st.sampled_from(["constant", "two", "one pixel", "blend", "noise"]))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    share = {"constant": 0.0, "two": draw(st.floats(0, 1)), "one pixel": 1 / 4096}.get(kind, 0.5)
    pixels = np.where(np.arange(4096)[:, None] < share * 4096, second, first).astype(float)
    if kind == "blend":
        weights = rng.dirichlet([1, 1, 1], 4096)
        pixels = weights @ np.array([first, second, third], float)
    if kind == "noise":
        pixels = rng.integers(0, 256, (4096, 3)).astype(float)
    return pixels.astype(np.uint8).reshape(1, 64, 64, 3)


@pytest.mark.parametrize("method", METHODS)
@given(picture=pictures())
@settings(max_examples=60)
def test_any_picture_is_normalised_or_refused(method: str, picture: NDArray[np.uint8]) -> None:
    try:
        found = fit(method, picture.reshape(-1, 3))
    except StainUnfit:
        return
    after = looked_up(found, reference(method), picture)
    assert after.dtype == np.uint8
    assert after.shape == picture.shape
    assert len(np.unique(after.reshape(-1, 3), axis=0)) <= len(np.unique(picture.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (128, 128, 128), (180, 90, 150)])
def test_a_single_colour_is_refused(method: str, colour: tuple[int, int, int]) -> None:
    with pytest.raises(StainUnfit):
        fit(method, np.full((4096, 3), colour, np.uint8))
