"""Segment softmax and sums against a loop over the bags."""

from __future__ import annotations

import pytest
import torch

from slidestream.mil.pooling import bag_index, bag_softmax, pool_each, weighted_sum

OFFSETS = torch.tensor([0, 1, 6, 8, 20])
BAGS = [slice(0, 1), slice(1, 6), slice(6, 8), slice(8, 20)]


def test_rows_know_their_bag() -> None:
    assert bag_index(OFFSETS).tolist() == [0] + [1] * 5 + [2] * 2 + [3] * 12


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_softmax_equals_a_softmax_per_bag(shift: float) -> None:
    scores = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)) * 5 + shift
    expected = torch.cat([scores[rows].softmax(0) for rows in BAGS])
    torch.testing.assert_close(bag_softmax(scores, OFFSETS), expected)


def test_softmax_survives_scores_far_apart() -> None:
    weights = bag_softmax(torch.tensor([[-3e38], [3e38], [0.0]]), torch.tensor([0, 2, 3]))
    assert weights.ravel().tolist() == [0.0, 1.0, 1.0]


def test_sums_equal_a_sum_per_bag() -> None:
    values, weights = torch.randn(20, 4), torch.rand(20, 3)
    expected = torch.stack([torch.einsum("nk,nd->kd", weights[rows], values[rows]) for rows in BAGS])
    torch.testing.assert_close(pool_each(values, weights, OFFSETS), expected)
    torch.testing.assert_close(weighted_sum(values, weights[:, :1], OFFSETS), expected[:, 0])


def test_weights_of_coarse_scores_sum_to_one() -> None:
    scores = torch.randn(20, 2).bfloat16()
    weights = bag_softmax(scores, OFFSETS)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(torch.stack([weights[rows].sum(0) for rows in BAGS]), torch.ones(4, 2))


def test_gradients_are_exact() -> None:
    scores = torch.randn(20, 2, dtype=torch.float64, requires_grad=True)
    values = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)

    def pooled(scores: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return weighted_sum(values, bag_softmax(scores, OFFSETS)[:, :1], OFFSETS)

    assert torch.autograd.gradcheck(pooled, (scores, values))
