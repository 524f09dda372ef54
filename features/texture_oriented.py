"""Energy per scale in a bank of oriented complex band-pass filters, pooled over orientations.

The bank is of Gabor's kind (Daugman, Journal of the Optical Society of America A 2 (1985) 1160-1169) with
the mean removed, as in the wavelet scattering of Bruna and Mallat (IEEE Transactions on Pattern Analysis
and Machine Intelligence 35 (2013) 1872-1886): the modulus averaged over the patch is the first order; the
modulus filtered again at a coarser scale and averaged is the second. The same small filters run on every
level of a pyramid.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch.nn import functional as F

from .texture_planes import Planes

WAVELENGTH = 4.0
"""In px of a pyramid level: 4, 8, 16 and 32 px of the patch."""
ENVELOPE = 1.6
SIDE = 8
ORIENTATIONS = 6
UNIT = (0.01, 1.0 / 255.0)
"""Amplitudes that count as one: 0.01 optical density of hematoxylin, one grey level of luminance."""
PLANES = ("hematoxylin", "luminance")
LEVELS = 4
STATISTICS = ("energy", "intermittency", "local_anisotropy", "global_anisotropy")

NAMES: tuple[str, ...] = (
    *(
        f"oriented.{plane}.{WAVELENGTH * 2**level:g}px.{statistic}"
        for level in range(LEVELS)
        for statistic in STATISTICS
        for plane in PLANES
    ),
    *(
        f"oriented.{plane}.{WAVELENGTH * 2**fine:g}px.then.{WAVELENGTH * 2**coarse:g}px"
        for fine in range(LEVELS - 1)
        for coarse in range(fine + 1, LEVELS)
        for plane in PLANES
    ),
)


def oriented(planes: Planes) -> torch.Tensor:
    """(B, len(NAMES)): first order with its spread and anisotropy, and second order relative to the first."""
    units = torch.tensor(UNIT, device=planes.hed.device)
    moduli = [modulus(level) for level in planes.pyramid]
    first = [_first_order(m, units) for m in moduli]
    second = [_second_order(m, LEVELS - 1 - level, units) for level, m in enumerate(moduli[:-1])]
    return torch.cat(first + second, 1)


def modulus(images: torch.Tensor) -> torch.Tensor:
    """Amplitude per orientation (B, C, ORIENTATIONS, h, w) of pictures (B, C, H, W), every second pixel.

    A grating of amplitude a, at the wavelength and orientation of a filter, gives about a.
    """
    batch, channels, height, width = images.shape
    flat = images.reshape(batch * channels, 1, height, width)
    # Filters of even side and mirrored borders: every second pixel of an even picture is then a lattice
    # symmetric about the centre, and a quarter turn only permutes the orientations.
    mirrored = F.pad(flat, [SIDE // 2 - 1] * 4, mode="reflect")
    response = F.conv2d(mirrored, _bank().to(images.device), stride=2)
    power = response[:, :ORIENTATIONS].square() + response[:, ORIENTATIONS:].square()
    return power.sqrt().view(batch, channels, *power.shape[1:])


@cache
def _bank() -> torch.Tensor:
    """(2 * ORIENTATIONS, 1, SIDE, SIDE): all cosine filters, then all sine filters."""
    at = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    envelope = torch.exp(-(x**2 + y**2) / (2 * ENVELOPE**2))
    angles = torch.arange(ORIENTATIONS, dtype=torch.float64)[:, None, None] * math.pi / ORIENTATIONS
    phase = (torch.cos(angles) * x + torch.sin(angles) * y) * 2 * math.pi / WAVELENGTH
    waves = torch.cat([torch.cos(phase), torch.sin(phase)])
    mean = (waves * envelope).sum((1, 2), keepdim=True) / envelope.sum()
    return (2 * (waves - mean) * envelope / envelope.sum())[:, None].float()


def _first_order(moduli: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """(B, C, O, h, w) -> (B, 4 C) in the order of STATISTICS."""
    pooled = moduli.mean(2)
    mean = pooled.mean((2, 3))
    floor = mean + units
    spread = pooled.std((2, 3), correction=0) / floor
    local = (moduli.amax(2) - pooled).mean((2, 3)) / floor
    per_angle = moduli.mean((3, 4))
    anisotropy = (per_angle.amax(2) - mean) / floor
    return torch.cat([torch.log1p(mean / units), spread, local, anisotropy], 1)


def _second_order(moduli: torch.Tensor, coarser: int, units: torch.Tensor) -> torch.Tensor:
    """Energy of the pooled modulus per coarser scale, over its mean: (B, C, O, h, w) -> (B, coarser * C)."""
    pooled = moduli.mean(2)
    floor = pooled.mean((2, 3)) + units
    columns = []
    for _ in range(coarser):
        columns.append(modulus(pooled).mean((2, 3, 4)) / floor)
        pooled = F.avg_pool2d(pooled, 2)
    return torch.cat(columns, 1)
