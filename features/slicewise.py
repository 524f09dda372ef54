"""A function over a batch, a few patches at a time, one slice per thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

SLICE = 8
"""On a CPU: intermediate pictures of so few patches stay in memory the allocator keeps."""
DEVICE_SLICE = 64
"""On an accelerator: enough to fill it, within about a gigabyte of intermediate pictures."""


def slicewise(measure: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
    """`measure(batch)` for a function (b, ...) -> (b, dim) whose rows are independent; no gradients.

    On a CPU as many slices run at once as torch has threads, each in one thread. Splitting every small
    operation over the threads instead makes them wait for each other hundreds of times per slice: measured
    1.7 times as slow on two cores, and 5 times when other programs want the same cores.
    """
    size = SLICE if batch.device.type == "cpu" else DEVICE_SLICE
    slices = [batch[at : at + size] for at in range(0, len(batch), size)]
    threads = min(torch.get_num_threads(), len(slices)) if batch.device.type == "cpu" else 1
    # Modes of torch belong to a thread, so each worker has to be told again.
    quietly = torch.no_grad()(measure)
    if threads <= 1:
        return torch.cat([quietly(part) for part in slices])
    return torch.cat(_threaded(quietly, slices, threads))


def _threaded(
    measure: Callable[[torch.Tensor], torch.Tensor], slices: list[torch.Tensor], threads: int
) -> list[torch.Tensor]:
    ours = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(measure, slices))
    finally:
        # The workers' setting is also the default of threads yet to come: put it back.
        torch.set_num_threads(ours)
