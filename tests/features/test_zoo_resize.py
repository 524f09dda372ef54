"""Pillow's pixels, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, Resize

from slidestream.errors import UsageError
from slidestream.features.zoo.preprocess import Preprocess
from slidestream.features.zoo.registry import zoo
from slidestream.features.zoo.resize import resize

from .zoo import patches


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("size", "shorter"),
    [((256, 256), 224), ((224, 224), 256), ((97, 97), 50), ((500, 500), 224), ((64, 64), 64)],
)
def test_it_is_what_pillow_gives(size: tuple[int, int], shorter: int, interpolation: str) -> None:
    pixels = patches(2, max(size))[:, : size[0], : size[1]]
    ours = resize(torch.from_numpy(pixels).permute(0, 3, 1, 2), shorter, interpolation)
    steps = Resize(shorter, interpolation=InterpolationMode(interpolation))
    for patch, found in zip(pixels, ours.permute(0, 2, 3, 1).numpy(), strict=True):
        np.testing.assert_array_equal(found, np.asarray(steps(Image.fromarray(patch))))


def test_of_other_shapes_it_is_a_grey_value_off_at_most() -> None:
    pixels = patches(1, 500)[:, :, :230]
    (ours,) = resize(torch.from_numpy(pixels).permute(0, 3, 1, 2), 224, "bilinear").permute(0, 2, 3, 1)
    theirs = np.asarray(Resize(224)(Image.fromarray(pixels[0])))
    assert np.abs(ours.numpy().astype(int) - theirs).max() <= 1


def test_patches_too_small_for_the_network_are_refused() -> None:
    card = replace(zoo()["uni"], resize=0)
    assert Preprocess(card)(torch.zeros(1, 3, 300, 300, dtype=torch.uint8)).shape == (1, 3, 224, 224)
    with pytest.raises(UsageError, match="--patch-size 256"):
        Preprocess(card)(torch.zeros(1, 3, 200, 200, dtype=torch.uint8))
