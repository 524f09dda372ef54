"""The slide encoder of TITAN (Ding et al. 2024): a transformer over the grid of a slide's patch embeddings.

Positions enter as ALiBi (Press et al. 2022) in two dimensions: the score of two patches is lowered by their
Euclidean distance in patches times a slope, one for each head. One learned query then attends to all tokens.
Cells without a patch take no part. The embeddings of several patches in one cell are added, as published.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

QUERIES = 512
"""How many tokens look at the others together: bounds the memory of the biases."""


def slopes(heads: int) -> torch.Tensor:
    """ALiBi's slopes (heads,): 2^(-8/n), 2^(-16/n)... for a power of two n; between two of them, first those
    of the smaller one, then every second of the larger one."""
    below = 1 << (heads.bit_length() - 1)
    whole = 2.0 ** (-8.0 / below * torch.arange(1, below + 1, dtype=torch.float64))
    between = 2.0 ** (-8.0 / (2 * below) * torch.arange(1, 2 * below + 1, 2, dtype=torch.float64))
    return torch.cat([whole, between])[:heads].float()


class Attention(nn.Module):
    """Tokens (T, D) at places (T - 1, 2), the first of them without a place -> (T, D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        split = self.qkv(tokens).unflatten(1, (3, self._heads, -1))
        query, key, value = split.permute(1, 2, 0, 3)[:, None]
        slope = slopes(self._heads).to(tokens)[:, None, None]
        parts = []
        for start in range(0, len(tokens), QUERIES):
            some = slice(start, start + QUERIES)
            bias = -slope * _distances(places, len(tokens), some)
            parts.append(F.scaled_dot_product_attention(query[:, :, some], key, value, attn_mask=bias[None]))
        attended: torch.Tensor = self.proj(torch.cat(parts, 2)[0].transpose(0, 1).flatten(1))
        return attended


def _distances(places: torch.Tensor, tokens: int, some: slice) -> torch.Tensor:
    """From some tokens to all, (some, tokens); 0 from and to the class token, which comes first."""
    queries = range(tokens)[some]
    apart = places.new_zeros(len(queries), tokens)
    first = 1 if queries.start == 0 else 0
    of = places[queries.start + first - 1 : queries.stop - 1]
    apart[first:, 1:] = torch.cdist(of, places, compute_mode="donot_use_mm_for_euclid_dist")
    return apart


class Block(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), places)
        widened = F.gelu(self.mlp["fc1"](self.norm2(tokens)))
        return tokens + self.mlp["fc2"](widened)  # type: ignore[no-any-return]


class Pooler(nn.Module):
    """Tokens (T, D) -> (D,): one learned query attends to them, with 8 heads."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        keys = self.ln_k(tokens)
        pooled: torch.Tensor = self.attn(self.ln_q(self.query), keys, keys, need_weights=False)[0]
        return pooled[0]


class Titan(nn.Module):
    """Embeddings (N, 768) and their places (N, 2), column and row in patches -> (768,), not normalised.

    Args:
        dim, depth, heads, pool_heads: those of the published configuration.
    """

    def __init__(self, dim: int = 768, depth: int = 6, heads: int = 12, pool_heads: int = 8) -> None:
        super().__init__()
        self.patch_embed = nn.Sequential(nn.Linear(dim, dim), nn.GELU())
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn_pool_contrastive = Pooler(dim, pool_heads)

    def forward(self, embeddings: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        cells, where = gridded(embeddings, places)
        tokens = torch.cat([self.cls_token[0], self.patch_embed(cells)])
        for block in self.blocks:
            tokens = block(tokens, where)
        return self.attn_pool_contrastive(self.norm(tokens))  # type: ignore[no-any-return]


def gridded(embeddings: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The cells of a grid that hold patches: their sums (C, D), and where they lie (C, 2), row by row."""
    cells, index = torch.unique(places, dim=0, return_inverse=True)
    sums = embeddings.new_zeros(len(cells), embeddings.shape[1]).index_add_(0, index, embeddings)
    return sums, cells.to(embeddings)
