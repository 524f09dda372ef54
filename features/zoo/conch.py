"""The image tower of CONCH v1.5 (Ding et al. 2024): a ViT-L/16 whose tokens one query attends to."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import nn

HEADS = 8


class AttentionPooling(nn.Module):
    """Tokens (B, T, context) -> (B, dim): one learned query, cross-attention with 8 heads, no biases."""

    def __init__(self, dim: int, context: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.ln_k = nn.LayerNorm(context)
        self.ln_q = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(context, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query = self.to_q(self.ln_q(self.query)).expand(len(tokens), -1, -1)
        key, value = self.to_kv(self.ln_k(tokens)).chunk(2, dim=-1)
        heads = [x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (query, key, value)]
        attended = F.scaled_dot_product_attention(*heads)
        pooled: torch.Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return pooled[:, 0]


class Conch(nn.Module):
    """float32 (B, 3, 448, 448) -> (B, 768).

    Positions are those of 224 px, enlarged at each call as in DINO: bicubic, by a factor 0.1 above the whole
    number, which shifts them slightly.
    """

    def __init__(self, depth: int = 24, width: int = 1024, heads: int = 16, dim: int = 768) -> None:
        super().__init__()
        self.trunk = timm.create_model(
            "vit_large_patch16_224",
            pretrained=False,
            num_classes=0,
            depth=depth,
            embed_dim=width,
            num_heads=heads,
            init_values=1e-6,
        )
        self.attn_pool_contrast = AttentionPooling(dim, width)
        self.ln_contrast = nn.LayerNorm(dim)

    def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Tokens (B, 1 + H / 16 * W / 16, width), the class token first."""
        net = self.trunk
        patches = net.patch_embed.proj(pixels)
        positions = enlarged(net.pos_embed, patches.shape[-1])
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([net.cls_token.expand(len(tokens), -1, -1), tokens], 1) + positions
        return net.norm(net.blocks(tokens))  # type: ignore[no-any-return]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pooled = self.attn_pool_contrast(self.forward_features(pixels))
        return self.ln_contrast(pooled)  # type: ignore[no-any-return]


def enlarged(positions: torch.Tensor, side: int) -> torch.Tensor:
    """Positions (1, 1 + n * n, D) for `side` x `side` patches, as DINO (Caron et al. 2021) resamples them."""
    grid = round((positions.shape[1] - 1) ** 0.5)
    if grid == side:
        return positions
    square = positions[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    factor = (side + 0.1) / grid
    square = F.interpolate(square.float(), scale_factor=(factor, factor), mode="bicubic")
    return torch.cat([positions[:, :1], square.flatten(2).transpose(1, 2).to(positions.dtype)], 1)
