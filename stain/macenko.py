"""Stain vectors as the extreme directions of a slide's optical density (Macenko et al. 2009).

M. Macenko et al., "A method for normalizing histology slides for quantitative analysis", IEEE International
Symposium on Biomedical Imaging (2009) 1107-1110.
"""

from __future__ import annotations

import numpy as np

from .density import Floats

EXTREME = 1.0
"""Percent of the pixels beyond a stain vector at either end: the paper's alpha."""


def macenko_stains(dense: Floats) -> Floats:
    """Unit vectors (2, 3) of haematoxylin and eosin.

    Args:
        dense: optical densities (N, 3) of pixels that absorb in every channel, at least 2.
    """
    _, axes = np.linalg.eigh(np.cov(dense.T))
    plane = axes[:, :0:-1]  # the two axes of most variance, the greater first
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)  # the sign of an eigenvector is arbitrary
    along, across = (dense @ plane).T
    angles = np.percentile(np.arctan2(across, along), [EXTREME, 100 - EXTREME])
    ends: Floats = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane.T
    return ends if ends[0, 0] > ends[1, 0] else ends[::-1]  # haematoxylin absorbs more red
