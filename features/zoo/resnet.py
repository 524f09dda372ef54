"""ResNet-50 up to its third stage, averaged: the baseline of CLAM (Lu et al. 2021), 1,024 numbers."""

from __future__ import annotations

import timm
import torch
from torch import nn


class ResNetLayer3(nn.Module):
    """The whole published network, of which the fourth stage and the classifier are loaded but not asked."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = timm.create_model("resnet50", pretrained=False)

    def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Tokens (B, H / 16 * W / 16, 1024) of float32 (B, 3, H, W)."""
        net = self.whole
        x = net.maxpool(net.act1(net.bn1(net.conv1(pixels))))
        places: torch.Tensor = net.layer3(net.layer2(net.layer1(x)))
        return places.flatten(2).transpose(1, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The mean over all places (B, 1024)."""
        return self.forward_features(pixels).mean(1)
