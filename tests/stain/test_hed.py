"""Colour deconvolution against scikit-image, which publishes the same matrix under other conventions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import hed2rgb, rgb2hed, rgb_from_hed

from slidestream.stain.hed import combine, rgb_to_od, separate
from slidestream.stain.ruifrok import RUIFROK_HED

SKIMAGE_UNIT = 6.0
"""scikit-image takes logarithms to the base 1e-6, ours are decadic."""


def patches(low: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(low, 256, (2, 40, 30, 3), dtype=np.uint8)


def channels_first(rgb: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(0, 3, 1, 2)


def test_the_matrix_is_the_published_one() -> None:
    np.testing.assert_array_equal(RUIFROK_HED, rgb_from_hed)


def test_optical_density_is_decadic_with_white_at_zero() -> None:
    od = rgb_to_od(torch.tensor([255, 128, 1, 0], dtype=torch.uint8))
    np.testing.assert_allclose(od, [0, -np.log10(128 / 255), np.log10(255), np.log10(255)], rtol=1e-6)


def test_separate_is_rgb2hed_but_for_its_unit_and_clipping() -> None:
    rgb = patches()
    ours = separate(rgb_to_od(channels_first(rgb))).clamp(min=0) / SKIMAGE_UNIT
    np.testing.assert_allclose(ours.permute(0, 2, 3, 1), rgb2hed(rgb), atol=2e-6)


def test_combine_is_hed2rgb() -> None:
    stains = np.random.default_rng(1).uniform(0, 1, (1, 20, 20, 3))
    ours = combine(torch.from_numpy(stains).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    theirs = np.round(255 * hed2rgb(stains / SKIMAGE_UNIT))
    assert np.abs(ours - theirs).max() <= 1, "rounding of values in the middle of two grey levels may differ"
    assert (ours == theirs).mean() > 0.999


def test_round_trip_is_exact_above_zero() -> None:
    rgb = channels_first(patches())
    assert torch.equal(combine(separate(rgb_to_od(rgb))), rgb)


def test_a_channel_of_zero_comes_back_as_one() -> None:
    black = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    assert combine(separate(rgb_to_od(black))).unique().tolist() == [1]


@pytest.mark.parametrize("stain", [0, 1, 2])
def test_one_stain_alone_is_told_apart(stain: int) -> None:
    pure = torch.zeros(1, 3, 4, 4)
    pure[:, stain] = 0.7
    found = separate(rgb_to_od(combine(pure)))
    assert torch.allclose(found, pure, atol=0.02), "8-bit steps cost up to 0.02"
