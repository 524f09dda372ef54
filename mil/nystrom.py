"""Self-attention in linear memory: Xiong et al., 2021, Nyströmformer, https://arxiv.org/abs/2102.03902."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import pad

PINV_STEPS = 6
KERNEL = 33
"""Of the convolution over the values that is added to what is attended to, as in the paper's code."""


class NystromAttention(nn.Module):
    """(1, L, H) -> the same, all tokens attending to all through `landmarks` means of neighbouring tokens.

    Sequences are padded with zeros in front to a multiple of the landmarks.
    """

    def __init__(self, hidden: int, heads: int, landmarks: int) -> None:
        super().__init__()
        self.heads, self.landmarks = heads, landmarks
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)
        self.residual = nn.Conv2d(
            heads, heads, (KERNEL, 1), padding=(KERNEL // 2, 0), groups=heads, bias=False
        )

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Attended tokens (1, L, H), and what the first token attends to, float (L,), mean over the heads."""
        length = tokens.shape[1]
        padded = pad(tokens, (0, 0, -length % self.landmarks, 0))
        query, key, value = (self._by_head(part) for part in self.qkv(padded).chunk(3, dim=-1))
        query = query * query.shape[-1] ** -0.5
        some_queries, some_keys = (self._landmarks(part) for part in (query, key))
        to_landmarks = (query @ some_keys.transpose(-1, -2)).softmax(-1)
        between = (some_queries @ some_keys.transpose(-1, -2)).softmax(-1)
        from_landmarks = (some_queries @ key.transpose(-1, -2)).softmax(-1)
        inverse = pseudo_inverse(between)
        mixed = (to_landmarks @ inverse) @ (from_landmarks @ value) + self.residual(value)
        merged = mixed.transpose(1, 2).flatten(2)[:, -length:]
        first = (to_landmarks[..., -length, None, :] @ inverse @ from_landmarks)[0, :, 0, -length:]
        return self.out(merged), first.mean(0)

    def _by_head(self, part: torch.Tensor) -> torch.Tensor:
        batch, length, _ = part.shape
        return part.reshape(batch, length, self.heads, -1).transpose(1, 2)

    def _landmarks(self, part: torch.Tensor) -> torch.Tensor:
        batch, heads, _, width = part.shape
        return part.reshape(batch, heads, self.landmarks, -1, width).mean(3)


def pseudo_inverse(matrix: torch.Tensor) -> torch.Tensor:
    """Moore-Penrose inverses of (..., M, M), by the paper's iteration of third order (equation 11)."""
    one = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    size = matrix.abs()
    inverse = matrix.transpose(-1, -2) / (size.sum(-1).max() * size.sum(-2).max())
    for _ in range(PINV_STEPS):
        product = matrix @ inverse
        inverse = 0.25 * inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return inverse
