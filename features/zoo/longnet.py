"""The slide encoder of Prov-GigaPath: a LongNet with dilated attention (Ding et al. 2023, Xu et al. 2024).

Several attentions are computed side by side and mixed by how much each has to say. One with segment length s
and ratio r cuts the sequence into segments of s tokens; the heads fall into r groups, and group g sees the
tokens g, g + r, g + 2 r... of its segment. Sequences are filled up with zero keys, which take part as in the
authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

SEGMENTS = (1024, 5792, 32768, 185363, 1048576)
"""From 1,024 to the (262,144 / 256) squared patches of the largest slide, evenly in the exponent."""
RATIOS = (1, 2, 4, 8, 16)
QUERIES = 256
"""How many queries are looked at together: bounds the memory of one attention."""


class DilatedAttention(nn.Module):
    """Tokens (L, D) -> (L, D)."""

    def __init__(self, dim: int, heads: int, segments: Sequence[int]) -> None:
        super().__init__()
        self._heads, self._segments = heads, segments
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))
        self.inner_attn_ln = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        projected = [p(tokens) for p in (self.q_proj, self.k_proj, self.v_proj)]
        query, key, value = (x.unflatten(1, (self._heads, -1)) for x in projected)
        branches = [
            _branch(query, key, value, min(segment, len(tokens)), ratio)
            for segment, ratio in zip(self._segments, RATIOS, strict=True)
        ]
        weight = torch.stack([mass for _, mass in branches]).softmax(0)
        mixed = (torch.stack([out for out, _ in branches]) * weight[..., None]).sum(0)
        attended: torch.Tensor = self.out_proj(self.inner_attn_ln(mixed.flatten(1)))
        return attended


def _branch(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segment: int, ratio: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """One attention: outputs (L, H, d), and each softmax's log-sum-exp (L, H), -1e8 where there is none."""
    length, heads, width = query.shape
    out = query.new_zeros(length, heads, width)
    mass = query.new_full((length, heads), -1e8)
    group = -(-heads // ratio)
    for start in range(0, length, segment):
        for offset in range(min(ratio, segment)):
            seen = (
                slice(start + offset, min(start + segment, length), ratio),
                slice(offset * group, (offset + 1) * group),
            )
            if not query[seen].numel():
                continue
            filled = -(-segment // ratio) - len(query[seen])
            keys, values = (F.pad(x[seen], (0, 0, 0, 0, 0, filled)) for x in (key, value))
            out[seen], mass[seen] = _attend(query[seen], keys, values)
    return out, mass


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax attention of (l, h, d) over (m, h, d): outputs (l, h, d), and log-sum-exps (l, h)."""
    outs, sums = [], []
    for start in range(0, len(query), QUERIES):
        some = query[start : start + QUERIES]
        score = torch.einsum("lhd,mhd->hlm", some, key) / some.shape[-1] ** 0.5
        sums.append(score.logsumexp(-1).T)
        outs.append(torch.einsum("hlm,mhd->lhd", score.softmax(-1), value))
    return torch.cat(outs), torch.cat(sums)


class FeedForward(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.ffn_layernorm = nn.LayerNorm(4 * dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        widened: torch.Tensor = self.ffn_layernorm(F.gelu(self.fc1(tokens)))
        return self.fc2(widened)  # type: ignore[no-any-return]


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int, segments: Sequence[int]) -> None:
        super().__init__()
        self.self_attn = DilatedAttention(dim, heads, segments)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn = FeedForward(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.self_attn(self.self_attn_layer_norm(tokens))
        return tokens + self.ffn(self.final_layer_norm(tokens))  # type: ignore[no-any-return]


class LongNet(nn.Module):
    """Embeddings (N, 1536) and their places (N, 2), column and row in patches -> (768,).

    Args:
        in_dim, dim, depth, heads: those of `gigapath_slide_enc12l768d`.
        segments: lengths of the segments, one per ratio.
    """

    def __init__(
        self,
        in_dim: int = 1536,
        dim: int = 768,
        depth: int = 12,
        heads: int = 16,
        segments: Sequence[int] = SEGMENTS,
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.patch_embed = nn.ModuleDict({"proj": nn.Linear(in_dim, dim)})
        layers = nn.Sequential(*(Layer(dim, heads, segments) for _ in range(depth)))
        self.encoder = nn.ModuleDict({"layers": layers, "layer_norm": nn.LayerNorm(dim)})
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, embeddings: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        tokens = self.patch_embed["proj"](embeddings)
        tokens = tokens + sines(places, tokens.shape[1]).to(tokens)
        tokens = torch.cat([self.cls_token[0], tokens])
        tokens = self.encoder["layer_norm"](self.encoder["layers"](tokens))
        return self.norm(tokens[0])  # type: ignore[no-any-return]


def sines(places: torch.Tensor, dim: int) -> torch.Tensor:
    """Fixed positions (N, dim) of (column, row): sines and cosines of the row, then those of the column."""
    omega = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64, device=places.device) / (dim / 4))
    row, column = (places[:, axis, None].double() * omega for axis in (1, 0))
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], 1)
