"""The slide encoder of PRISM (Shaikovski et al. 2024): a Perceiver (Jaegle et al. 2021).

Learned latents attend to all patch embeddings of a slide, then to each other, eight times over. The first
latent becomes the embedding of the slide. Layers share weights: all of them the attention among latents, all
but the first the attention to patches, which then also see the same keys and values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

DEPTH = 8
"""How many times latents attend to the patches."""


class FeedForward(nn.Module):
    """Normalisation, two linear layers, and between them a GELU that gates (GEGLU, Shazeer 2020)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.widen, self.narrow = nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        value, gate = self.widen(self.norm(latents)).chunk(2, dim=-1)
        return self.narrow(value * F.gelu(gate))  # type: ignore[no-any-return]


class ToPatches(nn.Module):
    """Latents (L, D) attend to patches (N, context), with one head and without biases."""

    def __init__(self, dim: int, context: int) -> None:
        super().__init__()
        self.x_norm = nn.LayerNorm(dim)
        self.to_q, self.to_out = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.to_kv = nn.Linear(context, 2 * dim, bias=False)
        self.ff = FeedForward(dim)

    def seen(self, patches: torch.Tensor) -> torch.Tensor:
        """Keys and values (2, N, D) of patches."""
        return self.to_kv(patches).unflatten(1, (2, -1)).transpose(0, 1)  # type: ignore[no-any-return]

    def forward(self, latents: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        query = self.to_q(self.x_norm(latents))
        latents = latents + self.to_out(_attended(query[None], seen[:, None])[0])
        return latents + self.ff(latents)  # type: ignore[no-any-return]


class AmongLatents(nn.Module):
    """Latents (L, D) attend to each other, without biases."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.ff = FeedForward(dim)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        split = self.qkv(self.norm(latents)).unflatten(1, (3, self._heads, -1)).permute(1, 2, 0, 3)
        latents = latents + self.out(_attended(split[0], split[1:]).transpose(0, 1).flatten(1))
        return latents + self.ff(latents)  # type: ignore[no-any-return]


def _attended(query: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Softmax attention of (H, L, d) over keys and values (2, H, N, d)."""
    return F.scaled_dot_product_attention(query[None], seen[0][None], seen[1][None])[0]


class Perceiver(nn.Module):
    """Embeddings (N, 2560) -> (1280,); where the patches lie plays no part.

    Args:
        context, dim, latents, among, heads: those of the published configuration; `among` layers with so
            many heads follow each attention to the patches.
    """

    def __init__(
        self,
        context: int = 2560,
        dim: int = 1280,
        latents: int = 513,
        among: int = 6,
        heads: int = 8,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(latents, dim))
        self.first, self.later = ToPatches(dim, context), ToPatches(dim, context)
        self.among = nn.Sequential(*(AmongLatents(dim, heads) for _ in range(among)))
        self.cls_norm = nn.LayerNorm(dim)

    def forward(self, embeddings: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        latents = self.among(self.first(self.latents, self.first.seen(embeddings)))
        seen = self.later.seen(embeddings)
        for _layer in range(DEPTH - 1):
            latents = self.among(self.later(latents, seen))
        return self.cls_norm(latents[0])  # type: ignore[no-any-return]
