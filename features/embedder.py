"""Patches to embeddings on one device, whatever of them fits into its memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import EnvironmentProblem
from ..stain.table import ColourTable
from .device import Device, Given, device_of
from .encoder import Encoder

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
ON_CPU = 16
"""Patches at once on a processor: what a network makes of more of them leaves its cache, and takes longer."""


class Embedder:
    """An encoder on its device, and how many patches it can take at once there.

    Args:
        encoder: its module already lies on the device.
        device: a torch device.
        precision: "fp32", or "bf16" or "fp16" for what of the network can be computed so; embeddings and
            preprocessing are float32 in any case.
        transfers: how pixels come to the device; by default as is usual for it.
    """

    def __init__(
        self, encoder: Encoder, device: str, precision: str = "fp32", transfers: Device | None = None
    ) -> None:
        self._encoder = encoder
        self._device = device
        self._precision = precision
        self._transfers = transfers or device_of(device)
        network = bool(encoder.card.architecture)
        self._at_once = ON_CPU if network and torch.device(device).type == "cpu" else 0

    @property
    def network(self) -> nn.Module:
        """The encoder's module."""
        return self._encoder.module

    @property
    def at_once(self) -> int:
        """How many patches are computed together, as far as is known; 0 for as many as a batch has."""
        return self._at_once

    @property
    def ahead(self) -> int:
        """How many batches may be begun before the first of them is asked for."""
        return self._transfers.ahead

    def __call__(self, pixels: NDArray[np.uint8], colours: ColourTable | None = None) -> NDArray[np.float32]:
        """Embeddings float32 (B, dim) of patches uint8 (B, H, W, 3), in new colours if there is a table.

        Raises:
            EnvironmentProblem: not even one patch fits.
        """
        return self.begin(pixels, colours)()

    def begin(self, pixels: NDArray[np.uint8], colours: ColourTable | None = None) -> Given:
        """Begin with patches as in a call; the embeddings are waited for where they are asked for.

        The pixels are copied to the device, and nowhere else; their memory is free when this returns. Where
        the device's is too small for the batch, it is halved until it fits, and the size that fitted is
        remembered.

        Raises:
            EnvironmentProblem: not even one patch fits.
        """
        parts = list(self._parts(pixels, colours))

        def given() -> NDArray[np.float32]:
            if len(parts) == 1:
                return parts[0]()
            none = np.empty((0, self._encoder.card.dim), np.float32)
            return np.concatenate([none, *(part() for part in parts)])

        return given

    def on_device(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, dim), on the device, of patches uint8 (B, H, W, 3) that lie there; all at once."""
        with self._autocast():
            return self._encoder(pixels.permute(0, 3, 1, 2))

    def _parts(self, pixels: NDArray[np.uint8], colours: ColourTable | None) -> Iterator[Given]:
        done = 0
        while done < len(pixels):
            part = pixels[done : done + (self._at_once or len(pixels))]
            try:
                moved = self._transfers.upload(part)
                given = self._transfers.fetch(self.on_device(colours(moved) if colours else moved))
            except torch.OutOfMemoryError as error:
                self._halve(len(part), error)
                continue
            yield given
            done += len(part)

    def _autocast(self) -> AbstractContextManager[None]:
        kind = torch.device(self._device).type
        return torch.autocast(kind, DTYPES.get(self._precision), enabled=self._precision in DTYPES)

    def _halve(self, size: int, error: torch.OutOfMemoryError) -> None:
        if size == 1:
            raise EnvironmentProblem(
                f"{self._device} has too little free memory for one patch.",
                "End what else uses the device, or use --device cpu.",
            ) from error
        self._at_once = size // 2
        self._transfers.free()
