"""Patches to embeddings on one device, whatever of them fits into its memory at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import EnvironmentProblem
from ..stain.table import ColourTable
from .encoder import Encoder

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Embedder:
    """An encoder on its device, and how many patches it can take at once there.

    Args:
        encoder: its module already lies on the device.
        device: a torch device.
        precision: "fp32", or "bf16" or "fp16" for what of the network can be computed so; embeddings and
            preprocessing are float32 in any case.
    """

    def __init__(self, encoder: Encoder, device: str, precision: str = "fp32") -> None:
        self._encoder = encoder
        self._device = device
        self._precision = precision
        self._at_once: int | None = None

    def __call__(self, pixels: NDArray[np.uint8], colours: ColourTable | None = None) -> NDArray[np.float32]:
        """Embeddings float32 (B, dim) of patches uint8 (B, H, W, 3), in new colours if there is a table.

        Where the device's memory is too small for the batch, it is halved until it fits, and the size
        that fitted is remembered.

        Raises:
            EnvironmentProblem: not even one patch fits.
        """
        done = 0
        parts = [np.empty((0, self._encoder.card.dim), np.float32)]
        while done < len(pixels):
            part = pixels[done : done + (self._at_once or len(pixels))]
            try:
                parts.append(self._embed(part, colours))
            except torch.OutOfMemoryError as error:
                self._halve(len(part), error)
                continue
            done += len(part)
        return np.concatenate(parts)

    def _embed(self, pixels: NDArray[np.uint8], colours: ColourTable | None) -> NDArray[np.float32]:
        """The pixels are copied to the device, and nowhere else."""
        on_device = torch.from_numpy(pixels).to(self._device)
        if colours:
            on_device = colours(on_device)
        with self._autocast():
            embedded: NDArray[np.float32] = self._encoder(on_device.permute(0, 3, 1, 2)).cpu().numpy()
        return embedded

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
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
