"""CTransPath: a Swin-tiny whose patches are made by three convolutions (Wang et al. 2022)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import nn

STRIDES = 2
"""Convolutions that halve the picture: patches of 4 px."""


class ConvStem(nn.Module):
    """float32 (B, 3, H, W) -> tokens (B, H / 4, W / 4, embed_dim), in the place of Swin's linear patches.

    Widths double from an eighth of the embedding; no layer but the last has a bias.
    """

    def __init__(
        self,
        img_size: int = 224,
        patch_size: int = 4,
        in_chans: int = 3,
        embed_dim: int = 96,
        norm_layer: Any = None,
        **_: Any,
    ) -> None:
        super().__init__()
        if patch_size != 2**STRIDES:
            raise ValueError(f"the stem makes patches of {2**STRIDES} px, not {patch_size}")
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        widths = [in_chans, embed_dim // 8, embed_dim // 4]
        stem: list[nn.Module] = []
        for before, after in pairwise(widths):
            stem += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.proj = nn.Sequential(*stem, nn.Conv2d(widths[-1], embed_dim, 1))
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.norm(self.proj(pixels).permute(0, 2, 3, 1))  # type: ignore[no-any-return]


def build_ctranspath(**arguments: Any) -> nn.Module:
    """Swin-tiny, patch 4, window 7, with the stem; `forward_features` gives (B, 7, 7, 768) for 224 px."""
    model: nn.Module = SwinTransformer(
        patch_size=4,
        window_size=7,
        embed_dim=96,
        num_heads=(3, 6, 12, 24),
        num_classes=0,
        embed_layer=ConvStem,
        **({"depths": (2, 2, 6, 2)} | arguments),
    )
    return model
