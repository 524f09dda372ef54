"""How well attention finds a region that is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ..features.store import Store
from ..tiling.grid import PatchGrid
from ..tiling.tissue import tissue_fraction


def region_auroc(store: Store, attention: NDArray[np.float32], region: NDArray[np.bool_]) -> float | None:
    """AUROC of attention (N,) as a detector of patches that lie mostly inside a region.

    Args:
        store: the slide's store.
        attention: one value per row of the store; NaN rows are left out.
        region: bool (h, w) over the whole slide.

    Returns:
        None where all patches lie inside, or none does.
    """
    extent = tuple(float(value) for value in store.attributes["extent"])
    grid = PatchGrid(store.coords(), extent)
    size = tuple(int(value) for value in store.attributes["source"]["size"])
    inside = tissue_fraction(region, size, grid) > 0.5
    known = np.isfinite(attention)
    if len(np.unique(inside[known])) < 2:
        return None
    return float(roc_auc_score(inside[known], attention[known]))
