"""What was taken for tissue, and which patches were read, drawn over the thumbnail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from ..features.store import Store

TISSUE = (0, 150, 0)
PATCH = (40, 40, 200)
LOST = (230, 0, 0)


def outlined(thumbnail: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The thumbnail (h, w, 3) with the outline of the tissue (h, w) in green, outside of it."""
    edge = find_boundaries(mask, mode="outer")  # outside, so that nothing of the tissue is hidden
    return np.where(edge[..., None], TISSUE, thumbnail).astype(np.uint8)


def outline(store: Store) -> NDArray[np.uint8]:
    """The thumbnail with the outline of the tissue in green and every patch in blue, uint8 (h, w, 3).

    Patches without an embedding (unreadable, outside the scanned area, excluded by a rule) are red. In a
    volume, patches of all slabs are drawn over its middle slice.
    """
    thumbnail = store.thumbnail()
    sheet = Image.fromarray(outlined(thumbnail, store.mask()))
    draw = ImageDraw.Draw(sheet)
    size = np.array(store.attributes["source"]["size"][:2])
    scale = np.array([thumbnail.shape[1], thumbnail.shape[0]]) / size
    side = np.array(store.attributes["extent"][:2]) * scale
    for corner, status in zip(store.coords()[:, :2] * scale, store.status(), strict=True):
        box = [*corner.round(), *(corner + side - 1).round()]
        draw.rectangle(box, outline=LOST if status else PATCH)
    return np.asarray(sheet)


def save_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """Write a picture (h, w, 3) as a PNG, in one step."""
    beside = path.with_name(f".{path.name}.partial")
    Image.fromarray(picture).save(beside, format="PNG")
    beside.replace(path)
