"""Softmax and sums over each bag of a ragged batch, as segment operations."""

from __future__ import annotations

import torch


def bag_index(offsets: torch.Tensor) -> torch.Tensor:
    """(N,) int64, the bag that each row belongs to, for offsets (B + 1,)."""
    bags = torch.arange(len(offsets) - 1, device=offsets.device)
    return bags.repeat_interleave(offsets.diff())


def bag_sum(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """(B, K), the sum over each bag of values (N, K), for offsets (B + 1,)."""
    total = values.new_zeros(len(offsets) - 1, values.shape[1])
    return total.index_add(0, bag_index(offsets), values)


def bag_softmax(scores: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Softmax over each bag and column of scores (N, K); every bag's weights sum to 1.

    Stable for any finite scores: each bag's greatest score is subtracted first.
    """
    index = bag_index(offsets)
    lowest = scores.new_full((len(offsets) - 1, scores.shape[1]), -torch.inf)
    # The shift cancels out of the quotient, so no gradient needs to flow through it.
    peak = lowest.scatter_reduce(0, index[:, None].expand_as(scores), scores.detach(), "amax")
    powers = (scores - peak[index]).exp()
    total = torch.zeros_like(lowest).index_add(0, index, powers)
    return powers / total[index]


def weighted_sum(values: torch.Tensor, weights: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """(B, D), each bag's sum of values (N, D) times weights (N, 1)."""
    return bag_sum(values * weights, offsets)
