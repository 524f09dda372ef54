"""What training slides look like, dimension by dimension."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from slidestream.mil.bags import Bags
from slidestream.mil.standardise import Moments, rows_at_once

DIM = 1536


def resident() -> int:
    """Bytes of memory that this process has of its own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    return 1024 * found


def test_they_are_numpys_over_many_blocks() -> None:
    x = np.random.default_rng(0).normal(100, 0.1, (3 * rows_at_once(DIM) + 5, DIM)).astype(np.float16)
    found = Moments.of_bag(Bags.single(torch.from_numpy(x), torch.zeros(len(x), 2, dtype=torch.int32)))
    np.testing.assert_allclose(found.mean.numpy(), x.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.variance.numpy(), x.astype(np.float64).var(0), rtol=1e-9)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_large_bag_leaves_no_holes_in_memory() -> None:
    """Widened to float64 at once it would be 600 MB, and so would the holes that blocks can leave."""
    features = torch.zeros(50_000, DIM, dtype=torch.float16)
    bag = Bags.single(features, torch.zeros(len(features), 2, dtype=torch.int32))
    features.fill_(1.0)
    before = resident()
    Moments.of_bag(bag)
    assert resident() - before < 100e6
