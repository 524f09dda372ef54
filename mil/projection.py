"""The first layer of every head, in blocks of rows: a bag as large as a slide costs no more than its output.

Standardising, the linear layer, ReLU and dropout as plain operations would each keep a float32 copy of all
embeddings for the backward pass. Here a block is converted, used and forgotten, and computed again when its
gradient is due; what is kept is the embeddings as they are stored, and the output. Gradients are exact: where
the output is 0, so is the gradient, whether ReLU or dropout made it so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from .standardise import Standardiser, rows_at_once

STEPS = 256
"""Dropout draws a byte per element, so its probability is a multiple of 1/256."""


Shift = tuple[torch.Tensor, torch.Tensor]
"""(B, H) per bag, and (N,) int64 the bag of each row."""


class Projection(nn.Sequential):
    """Linear, ReLU and dropout, of embeddings that are standardised on the way."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.width = hidden
        self._dropped = min(round(dropout * STEPS), STEPS - 1)

    def of_raw(
        self, features: torch.Tensor, standardise: Standardiser, shift: Shift | None = None
    ) -> torch.Tensor:
        """What the layers give for standardised features (N, D) of any floating type: (N, H).

        bfloat16 within autocast to it, else float32.

        Args:
            features: of all bags.
            standardise: what brings them to mean 0 and variance 1.
            shift: what is added to the linear layer's output in each bag.
        """
        layer = self[0]
        dropped = self._dropped if self.training else 0
        added, owner = shift or (None, None)
        how = standardise, dropped, owner
        hidden: torch.Tensor = _Project.apply(features, layer.weight, layer.bias, added, how)
        return hidden


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        *rest: Any,
    ) -> torch.Tensor:
        added, (standardise, dropped, owner) = rest
        kind = features.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        # ReLU of a multiple is that multiple of ReLU: what dropout leaves is scaled up in the layer.
        scale = STEPS / (STEPS - dropped)
        light, offset = (weight * scale).to(dtype), (bias * scale).to(dtype)
        hidden = torch.empty(len(features), len(weight), dtype=dtype, device=features.device)
        with torch.autocast(kind, enabled=False):
            for rows in _blocks(features):
                part = linear(standardise(features[rows]).to(dtype), light, offset)
                if added is not None:
                    part += (added[owner[rows]] * scale).to(dtype)
                hidden[rows] = _drop(part.relu_(), dropped) if dropped else part.relu_()
        ctx.save_for_backward(features, weight, hidden)
        ctx.owner, ctx.bags = owner, None if added is None else len(added)
        ctx.standardise, ctx.scale = standardise, scale
        return hidden

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads
        features, weight, hidden = ctx.saved_tensors
        of_weight, of_bias = torch.zeros_like(weight), weight.new_zeros(len(weight))
        of_features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        of_added = weight.new_zeros(ctx.bags, len(weight)) if ctx.bags else None
        scaled = (weight * ctx.scale).to(grad.dtype)
        with torch.autocast(features.device.type, enabled=False):
            for rows in _blocks(features):
                part = grad[rows] * (hidden[rows] > 0)
                of_weight += part.t() @ ctx.standardise(features[rows]).to(part.dtype)
                of_bias += part.sum(0, dtype=weight.dtype)
                if of_added is not None:
                    of_added.index_add_(0, ctx.owner[rows], part.to(of_added.dtype))
                if of_features is not None:
                    of_features[rows] = (part @ scaled) / ctx.standardise.std
        # None where no gradient is wanted.
        summed = (None if of is None else of.mul_(ctx.scale) for of in (of_weight, of_bias, of_added))
        return of_features, *summed, None


def _blocks(rows: torch.Tensor) -> Iterator[slice]:
    step = rows_at_once(rows.shape[1])
    return (slice(start, start + step) for start in range(0, len(rows), step))


def _drop(values: torch.Tensor, dropped: int) -> torch.Tensor:
    """Zero a share of `dropped` / 256, in place.

    A byte per element: on a processor, torch's own dropout, which draws a number for each, took longer
    than the layer.
    """
    words = torch.empty(-(-values.numel() // 8), dtype=torch.int64, device=values.device)
    kept = words.random_(-(1 << 63), None).view(torch.uint8)[: values.numel()] >= dropped
    return values.mul_(kept.view(values.shape))
