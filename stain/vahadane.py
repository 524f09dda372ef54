"""Stain vectors by sparse non-negative matrix factorisation (Vahadane et al. 2016).

A. Vahadane et al., "Structure-preserving color normalization and sparse stain separation for histological
images", IEEE Transactions on Medical Imaging 35 (2016) 1962-1971. Minimises

    1/2 |V - C W|^2 + SPARSITY * sum(C),   C >= 0, W >= 0, rows of W of length 1,

over concentrations C (N, 2) and stains W (2, 3), for optical densities V (N, 3). Both halves of each step
are solved as they stand: two concentrations have a closed form, stains are updated one after the other
(Mairal et al., "Online dictionary learning for sparse coding", ICML 2009).
"""

from __future__ import annotations

import numpy as np

from .density import Floats
from .ruifrok import RUIFROK_HED

SPARSITY = 0.1
MAX_PIXELS = 20_000
MAX_STEPS = 200
SETTLED = 1e-6


def vahadane_stains(tissue: Floats) -> Floats:
    """Unit vectors (2, 3) of haematoxylin and eosin.

    Args:
        tissue: optical densities (N, 3) in random order; the first 20,000 are used.
    """
    od = tissue[:MAX_PIXELS].clip(0)
    stains = _unit(np.array(RUIFROK_HED[:2]))
    for _ in range(MAX_STEPS):
        before, stains = stains, _better_stains(od, sparse_concentrations(od, stains), stains)
        if np.abs(stains - before).max() < SETTLED:
            break
    return stains if stains[0, 0] > stains[1, 0] else stains[::-1]


def sparse_concentrations(od: Floats, stains: Floats) -> Floats:
    """Non-negative concentrations (N, 2) of least error plus sparsity, exactly, for unit stains (2, 3)."""
    pull = od @ stains.T - SPARSITY
    alike = float(stains[0] @ stains[1])
    both = (pull - alike * pull[:, ::-1]) / max(1 - alike**2, 1e-12)
    alone = pull.clip(0)
    alone[np.arange(len(od)), alone.argmin(axis=1)] = 0  # of one stain alone, the one that explains more
    found: Floats = np.where((both >= 0).all(axis=1, keepdims=True), both, alone)
    return found


def _better_stains(od: Floats, amounts: Floats, stains: Floats) -> Floats:
    stains = stains.copy()
    together, seen = amounts.T @ amounts, amounts.T @ od
    for i in range(2):
        if together[i, i] > 0:
            best = (stains[i] + (seen[i] - together[i] @ stains) / together[i, i]).clip(0)
            stains[i] = _unit(best[None])[0]  # longer before: sparsity keeps amounts small
    return stains


def _unit(rows: Floats) -> Floats:
    length: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / length.clip(1e-12)
    return unit
