"""How tokens become one embedding."""

from __future__ import annotations

from collections.abc import Callable

import torch

POOLINGS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "cls": lambda tokens, _: tokens[:, 0],
    "mean": lambda tokens, prefix: tokens[:, prefix:].mean(1),
    "cls+mean": lambda tokens, prefix: torch.cat([tokens[:, 0], tokens[:, prefix:].mean(1)], 1),
}


def pool(tokens: torch.Tensor, pooling: str, prefix: int) -> torch.Tensor:
    """Embeddings (B, D or 2 D) of tokens (B, T, D), or of a map (B, h, w, D).

    Args:
        pooling: a key of `POOLINGS`.
        prefix: class and register tokens before the patch tokens, which never enter a mean.
    """
    return POOLINGS[pooling](tokens.flatten(1, -2), prefix)
