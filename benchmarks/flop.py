"""Floating-point operations of a vision transformer, from its shapes; multiplying and adding are two."""

from __future__ import annotations

from torch import nn


def vit_flop(network: nn.Module, side: int) -> float:
    """Of one picture of `side` px through timm's vision transformer: what the matrices multiply.

    Every linear layer of a block, the two products of its attention, and the patches' projection; not
    normalisation, softmax and activation, which no count of model FLOP includes.
    """
    embed, blocks = network.patch_embed, list(network.blocks)
    patch = embed.proj.kernel_size[0]
    patches = (side // patch) ** 2
    tokens = patches + int(network.num_prefix_tokens)
    width = embed.proj.out_channels
    flop = 2.0 * patches * width * embed.proj.in_channels * patch**2
    for block in blocks:
        matrices = [layer for layer in block.modules() if isinstance(layer, nn.Linear)]
        flop += sum(2.0 * tokens * layer.in_features * layer.out_features for layer in matrices)
        flop += 2 * 2.0 * tokens**2 * width
    return flop


def utilisation(patches_per_second: float, flop: float, peak_tflop: float) -> float:
    """The part of a device's peak, in TFLOP/s, that the model's own operations take."""
    return patches_per_second * flop / (peak_tflop * 1e12)
