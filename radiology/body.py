"""Where the patient is, coarsely: what a tissue mask is to a slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from .intensity import AIR_HU, Kind

CROSS = ndimage.generate_binary_structure(2, 1)[None]
REGROWN_CELLS = 3


def body_mask(samples: NDArray[np.float32], kind: Kind) -> NDArray[np.bool_]:
    """The largest connected thing that is not air, its holes filled slice by slice.

    Thin things (a table's shell, tubes, a blanket) are cut off by an in-plane opening before the
    largest component is chosen; its rim is grown back afterwards.

    Args:
        samples: (D, h, w) coarse samples of the volume in physical values.
        kind: `ct`: denser than -500 HU; `mr`: brighter than the threshold of Otsu (1979).

    Returns:
        bool (D, h, w); all False where nothing stands out.
    """
    solid = np.nan_to_num(samples, nan=-np.inf) > _threshold(samples, kind)
    opened = ndimage.binary_opening(solid, CROSS)
    largest = _largest(opened if opened.any() else solid)
    whole = ndimage.binary_dilation(largest, CROSS, iterations=REGROWN_CELLS, mask=solid)
    return np.stack([_filled(plane) for plane in whole])


def _threshold(samples: NDArray[np.float32], kind: Kind) -> float:
    finite = samples[np.isfinite(samples)]
    if kind == "ct":
        return AIR_HU
    return float(threshold_otsu(finite)) if finite.size and np.ptp(finite) > 0 else np.inf


def _filled(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Holes filled, also behind a wall so thin that coarse samples pierce it by a cell."""
    closed = ndimage.binary_closing(np.pad(plane, 2), CROSS[0], iterations=2)
    return np.asarray(ndimage.binary_fill_holes(closed)[2:-2, 2:-2])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())
