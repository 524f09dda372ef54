"""How covariates join what a head sees in a slide.

- "late": a learned linear term of the covariates is added to the logits.
- "intermediate": the covariates stand beside every embedding before the head's first layer. As they are the
  same for all patches of a bag, that is one more bias per bag, and no embedding is copied.

Both start at nothing, so that a head begins as it would without covariates.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import linear

from ..errors import UsageError


class CovariateLayer(nn.Module):
    """From covariates (B, K), standardised as on the training slides, to (B, width); no bias.

    A missing number counts as the mean. A column that never varied in training is passed over: its weight was
    never learned.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, columns))
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))

    def fit(self, values: torch.Tensor) -> None:
        """Adopt the moments of covariates (S, K) of the training slides."""
        known = ~values.isnan()
        count = known.sum(0).clamp(min=1)
        mean = values.nan_to_num().sum(0) / count
        centred = torch.where(known, values - mean, 0.0)
        std = (centred.square().sum(0) / count).sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > 1e-6 * mean.abs().clamp(min=1e-6), 1 / std, 0.0))

    def forward(self, covariates: torch.Tensor | None) -> torch.Tensor:
        if covariates is None:
            raise UsageError("This head needs covariates and the bags have none.", "Give them to predict.")
        with torch.autocast(covariates.device.type, enabled=False):
            return linear(((covariates - self.mean) * self.scale).nan_to_num(), self.weight)
