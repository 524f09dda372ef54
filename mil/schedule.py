"""How the learning rate goes: up along a line, down along a cosine."""

from __future__ import annotations

import math

import torch
from torch.optim.lr_scheduler import LambdaLR

from .spec import TrainSpec


def learning_rate(epoch: int, spec: TrainSpec) -> float:
    """The share of the peak rate in an epoch, counted from 0: warm-up, then half a cosine.

    Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983, without restarts.
    """
    warm = round(spec.warm_up * spec.epochs)
    if epoch < warm:
        return (epoch + 1) / (warm + 1)
    return (1 + math.cos(math.pi * (epoch - warm) / (spec.epochs - warm))) / 2


def schedule_of(optimiser: torch.optim.Optimizer, spec: TrainSpec) -> LambdaLR:
    """To be stepped after every epoch."""
    return LambdaLR(optimiser, lambda epoch: learning_rate(epoch, spec) if epoch < spec.epochs else 0.0)
