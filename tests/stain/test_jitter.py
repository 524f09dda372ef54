"""Stain augmentation against scikit-image's deconvolution."""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import rgb2hed

from slidestream.stain.hed import combine
from slidestream.stain.jitter import LIGHT, STRONG, jitter_stain


def patches() -> torch.Tensor:
    """Tissue of moderate density, so that no jitter leaves the range: uint8 (6, 3, 32, 32)."""
    stains = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.25 + 0.2
    return combine(stains)


def test_each_stain_of_each_patch_is_scaled_and_shifted_by_its_own() -> None:
    before, after = patches(), jitter_stain(patches(), STRONG, torch.Generator().manual_seed(1))
    slopes, shifts = [], []
    for old, new in zip(before, after, strict=True):
        hed = [6 * rgb2hed(p.permute(1, 2, 0).numpy()) for p in (old, new)]
        for stain in range(3):
            inside = (hed[0][..., stain] > 0.02) & (hed[1][..., stain] > 0.02)
            slope, shift = np.polyfit(hed[0][inside][:, stain], hed[1][inside][:, stain], 1)
            residual = hed[1][inside][:, stain] - slope * hed[0][inside][:, stain] - shift
            assert np.abs(residual).max() < 0.06, "one line for all pixels of a patch"
            slopes.append(slope)
            shifts.append(shift)
    assert np.abs(np.array(slopes) - 1).max() <= STRONG + 0.03
    assert np.abs(shifts).max() <= STRONG + 0.03
    assert np.std(slopes) > 0.05
    assert np.std(shifts) > 0.05


def test_the_generator_decides() -> None:
    first, again, other = (
        jitter_stain(patches(), LIGHT, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_amount_changes_nothing() -> None:
    assert torch.equal(jitter_stain(patches(), 0.0), patches())
