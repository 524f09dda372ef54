"""What training slides look like, dimension by dimension."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from slidestream.mil.bags import Bags
from slidestream.mil.standardise import Moments, rows_at_once

DIM = 1536
GROWTH = """
import torch
from slidestream.mil.bags import Bags
from slidestream.mil.standardise import Moments

def resident():
    return 1024 * next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))

bag = Bags.single(torch.ones(50_000, 1536), torch.zeros(50_000, 2, dtype=torch.int32))
before = resident()
Moments.of_bag(bag)
print(resident() - before)
"""
"""By how much a process grows with the moments of a bag that would be 600 MB in float64."""


def test_they_are_numpys_over_many_blocks() -> None:
    x = np.random.default_rng(0).normal(100, 0.1, (3 * rows_at_once(DIM) + 5, DIM)).astype(np.float16)
    found = Moments.of_bag(Bags.single(torch.from_numpy(x), torch.zeros(len(x), 2, dtype=torch.int32)))
    np.testing.assert_allclose(found.mean.numpy(), x.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.variance.numpy(), x.astype(np.float64).var(0), rtol=1e-9)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_large_bag_leaves_no_holes_in_memory() -> None:
    """In a process of its own: one that has run for long has small holes enough for what is kept."""
    grown = subprocess.run(
        [sys.executable, "-c", GROWTH], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    assert int(grown) < 100e6
