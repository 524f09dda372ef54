"""A batch that does not fit is halved until it does, and the results are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slidestream.errors import EnvironmentProblem
from slidestream.features.card import EncoderCard
from slidestream.features.embedder import Embedder
from slidestream.features.encoder import Encoder

CARD = EncoderCard("mean", "test", "1", "", "none", False, dim=3, input_px=8)
PIXELS = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3)).astype(np.uint8)


class Small(torch.nn.Module):
    """The mean colour, on a device with memory for a few patches."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.fits, self.sizes = fits, []  # type: ignore[var-annotated]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pixels))
        if len(pixels) > self.fits:
            raise torch.OutOfMemoryError
        return pixels.float().mean((2, 3))


def test_it_is_halved_and_remembered() -> None:
    module = Small(fits=6)
    embed = Embedder(Encoder(CARD, module), "cpu")
    np.testing.assert_allclose(embed(PIXELS), PIXELS.mean((1, 2)), rtol=1e-5)
    assert module.sizes == [20, 10, 5, 5, 5, 5]
    module.sizes.clear()
    embed(PIXELS)
    assert module.sizes == [5, 5, 5, 5]


def test_a_batch_that_fits_is_left_whole() -> None:
    module = Small(fits=100)
    Embedder(Encoder(CARD, module), "cpu")(PIXELS)
    assert module.sizes == [20]


def test_not_even_one() -> None:
    with pytest.raises(EnvironmentProblem, match="one patch"):
        Embedder(Encoder(CARD, Small(fits=0)), "cpu")(PIXELS)


def test_nothing_to_do() -> None:
    assert Embedder(Encoder(CARD, Small(fits=1)), "cpu")(PIXELS[:0]).shape == (0, 3)
