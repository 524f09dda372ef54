"""Integrated gradients: Sundararajan, Taly and Yan, 2017, https://arxiv.org/abs/1703.01365.

Written out rather than taken from captum, which repeats the whole bag for every step of the path; a test
holds it equal to captum's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .bags import Bags
from .evidence import evidence
from .heads import Head

STEPS = 50


def integrated_gradients(head: Head, bag: Bags, label: int, steps: int = STEPS) -> torch.Tensor:
    """(N,) float64 what each patch of a single bag adds to the evidence for a class.

    The path leads in a straight line from a bag of as many average patches, each the mean embedding of the
    training slides. The sum over patches is the evidence of the bag less that of the average bag, as far as
    a sum over `steps` points (Gauss and Legendre) is the integral.
    """
    average = head.standardise.mean
    way = bag.features.float() - average
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros(len(way), dtype=torch.float64)
    for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
        at = (average + (point + 1) / 2 * way).requires_grad_()
        found = evidence(head.task, head(replace(bag, features=at)).logits, label).sum()
        total += weight / 2 * torch.autograd.grad(found, at)[0].mul_(way).sum(1, dtype=torch.float64)
    return total
