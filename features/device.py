"""Between the memory of this machine and that of a device: what the encoder takes, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

PORTABLE = 1
"""Flag of CUDA: memory is page-locked for all of its contexts."""
Given = Callable[[], NDArray[np.float32]]
"""Waits for the device, and gives what it has computed."""


class Device(Protocol):
    """Where an encoder computes.

    Attributes:
        ahead: how many batches may be begun before the first of them is asked for.
    """

    ahead: int

    def upload(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """The pixels on the device. Their memory here may be used again when this returns."""
        ...

    def fetch(self, embeddings: torch.Tensor) -> Given:
        """Begin to bring embeddings back; nothing waits until they are asked for."""
        ...

    def free(self) -> None:
        """Give back memory that the device keeps for later."""
        ...


class Here:
    """The processor: nothing moves."""

    ahead = 0

    def upload(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        return torch.from_numpy(pixels)

    def fetch(self, embeddings: torch.Tensor) -> Given:
        return embeddings.numpy

    def free(self) -> None:
        """Nothing is kept."""


class Cuda:
    """A GPU. While it computes one batch, the next is copied to it, and the last one is fetched and written.

    Pixels travel on a stream of their own: waiting for the copy is not waiting for the batch before it. From
    memory that `pinned` has been told of, the GPU takes them itself, without another copy on the way.
    """

    ahead = 1

    def __init__(self, name: str) -> None:
        self._device = torch.device(name)
        self._copies = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def upload(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        with torch.cuda.stream(self._copies):
            moved = torch.from_numpy(pixels).to(self._device, non_blocking=True)
        self._copies.synchronize()
        # The memory belongs to the stream that computes from here on.
        moved.record_stream(torch.cuda.current_stream(self._device))
        return moved

    def fetch(self, embeddings: torch.Tensor) -> Given:
        held = torch.empty(embeddings.shape, dtype=embeddings.dtype, pin_memory=True)
        held.copy_(embeddings, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self._device))

        def given() -> NDArray[np.float32]:
            done.synchronize()
            return held.numpy()

        return given

    def free(self) -> None:
        torch.cuda.empty_cache()


def device_of(name: str) -> Device:
    """The device with that torch name; others than GPUs of CUDA wait for each batch."""
    kind = torch.device(name).type
    return Cuda(name) if kind == "cuda" else Here() if kind == "cpu" else Waiting(name)


class Waiting(Here):
    """Another accelerator, without copies of its own in the background."""

    def __init__(self, name: str) -> None:
        self._name = name

    def upload(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        return torch.from_numpy(pixels).to(self._name)

    def fetch(self, embeddings: torch.Tensor) -> Given:
        return embeddings.cpu().numpy


@contextmanager
def pinned(memory: NDArray[np.uint8], device: str) -> Iterator[bool]:
    """Let a GPU read this memory directly for as long as the block lasts; whether it can.

    A system that does not allow it loses speed, and nothing else.
    """
    if torch.device(device).type != "cuda":
        yield False
        return
    with torch.cuda.device(device):  # else the first GPU would be woken too
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        held = int(runtime.cudaHostRegister(memory.ctypes.data, memory.nbytes, PORTABLE)) == 0
    try:
        yield held
    finally:
        if held:
            runtime.cudaHostUnregister(memory.ctypes.data)
