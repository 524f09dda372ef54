"""What training slides look like, dimension by dimension."""

from __future__ import annotations

import numpy as np
import torch

from slidestream.mil.bags import Bags
from slidestream.mil.standardise import Moments, rows_at_once

DIM = 1536


def test_they_are_numpys_over_many_blocks() -> None:
    x = np.random.default_rng(0).normal(100, 0.1, (3 * rows_at_once(DIM) + 5, DIM)).astype(np.float16)
    found = Moments.of_bag(Bags.single(torch.from_numpy(x), torch.zeros(len(x), 2, dtype=torch.int32)))
    np.testing.assert_allclose(found.mean.numpy(), x.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.variance.numpy(), x.astype(np.float64).var(0), rtol=1e-9)
