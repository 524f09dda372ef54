"""The first layer in blocks against the same layers one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slidestream.mil import projection
from slidestream.mil.projection import Projection
from slidestream.mil.standardise import Moments, Standardiser

ROWS, DIM, HIDDEN = 23, 7, 5


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "rows_at_once", lambda _: 10)


def standardiser() -> Standardiser:
    fitted = Standardiser(DIM)
    fitted.fit(Moments(torch.linspace(-3, 3, DIM).double(), torch.linspace(0.2, 4, DIM).double()))
    return fitted


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
def test_blocks_equal_the_whole_and_so_do_their_gradients(stored: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, standardise = Projection(DIM, HIDDEN, 0.5).eval(), standardiser()
    features = torch.randn(ROWS, DIM).to(stored)
    upstream = torch.randn(ROWS, HIDDEN)
    found, expected = layer.of_raw(features, standardise), layer(standardise(features))
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(found, list(layer.parameters()), upstream)
    theirs = torch.autograd.grad(expected, list(layer.parameters()), upstream)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_embeddings_get_their_gradient_too() -> None:
    torch.manual_seed(0)
    layer, standardise = Projection(DIM, HIDDEN), standardiser()
    features = torch.randn(ROWS, DIM, requires_grad=True)
    upstream = torch.randn(ROWS, HIDDEN)
    (ours,) = torch.autograd.grad(layer.of_raw(features, standardise), features, upstream)
    (theirs,) = torch.autograd.grad(layer(standardise(features)), features, upstream)
    torch.testing.assert_close(ours, theirs)


def test_dropout_drops_its_share_scales_the_rest_and_stops_the_gradient() -> None:
    torch.manual_seed(0)
    layer, standardise = Projection(64, 32, 0.25).train(), Standardiser(64)
    nn.init.ones_(layer[0].bias)
    nn.init.zeros_(layer[0].weight)  # every output is 1 before dropout
    out = layer.of_raw(torch.randn(4000, 64), standardise)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.005)
    columns = (out == 0).float().mean(0)
    assert float(columns.min()) > 0.2  # no byte of the drawn words is unlike the others
    assert float(columns.max()) < 0.3
    (bias,) = torch.autograd.grad(out.sum(), layer[0].bias)
    torch.testing.assert_close(bias, out.detach().sum(0))
    assert torch.equal(layer.eval().of_raw(torch.randn(3, 64), standardise), torch.ones(3, 32))


def test_bfloat16_is_near_and_keeps_what_a_large_mean_hides() -> None:
    """Rounded before it is standardised, 500 + x would lose x: bfloat16 has eight bits."""
    torch.manual_seed(0)
    layer, standardise = Projection(DIM, HIDDEN), Standardiser(DIM)
    standardise.fit(Moments(torch.full((DIM,), 500.0).double(), torch.ones(DIM).double()))
    features = torch.randn(ROWS, DIM) + 500
    exact = layer.of_raw(features, standardise)
    upstream = torch.randn(ROWS, HIDDEN)
    with torch.autocast("cpu", torch.bfloat16):
        near = layer.of_raw(features, standardise)
    assert near.dtype == torch.bfloat16
    torch.testing.assert_close(near.float(), exact, atol=0.03, rtol=0.02)
    (ours,) = torch.autograd.grad(near, layer[0].weight, upstream.bfloat16())
    (theirs,) = torch.autograd.grad(exact, layer[0].weight, upstream)
    torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0.03)


def test_nearly_all_dropped_is_still_finite() -> None:
    layer = Projection(DIM, HIDDEN, 0.999).train()
    assert torch.isfinite(layer.of_raw(torch.randn(ROWS, DIM), Standardiser(DIM))).all()
