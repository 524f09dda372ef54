"""Where the tissue is on a picture of a slide: pure functions of pixels, with sizes in microns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import NotBrightfield, NotFluorescence
from .ink import find_ink, find_rims
from .picture import Picture
from .segmenters import BY_NAME
from .spec import TissueSpec

FIELD = 0.5

Field = Literal["bright", "dark"]


@dataclass(frozen=True)
class Segmentation:
    """What is on a picture.

    Attributes:
        mask: tissue, bool (h, w); ink is never tissue.
        ink: uint8 (h, w), see `ink.find_ink`.
        field: whether the background is bright glass or dark (fluorescence).
    """

    mask: NDArray[np.bool_]
    ink: NDArray[np.uint8]
    field: Field


def segment(picture: Picture, spec: TissueSpec) -> Segmentation:
    """Tissue and ink on an overview picture.

    Raises:
        NotBrightfield, NotFluorescence: the segmenter was made for the other kind of slide.
    """
    field = _field(picture, spec)
    nothing = np.zeros(picture.scanned.shape, np.uint8)
    if not picture.scanned.any():
        return Segmentation(nothing > 0, nothing, field)
    ink = find_ink(picture) if spec.ink and field == "bright" else nothing
    clear = picture.scanned & (ink == 0) & ~find_rims(picture, ink)
    mask = clean(BY_NAME[spec.segmenter](picture) & clear, picture.spacing, spec)
    return Segmentation(mask & clear, ink, field)


def clean(mask: NDArray[np.bool_], spacing: float, spec: TissueSpec) -> NDArray[np.bool_]:
    """Close gaps, drop specks and small fragments, fill small holes; radii and areas are physical."""
    pixel_mm2 = (spacing / 1000) ** 2
    close, open_ = round(spec.close_um / spacing), round(spec.open_um / spacing)
    framed = np.pad(mask, close, mode="edge")  # so that closing reaches over the picture's edge
    framed = _shrunk(_grown(framed, close), close)
    mask = framed[close : close + mask.shape[0], close : close + mask.shape[1]]
    mask = _grown(_shrunk(mask, open_), open_)
    # A piece that fills half of a small field is cut off by its edges: it is larger than is seen.
    mask = _without_small(mask, min(spec.min_fragment_mm2 / pixel_mm2, FIELD * mask.size))
    # Glass at the edge belongs to the glass beyond, however little of it is seen: it is no hole.
    glass = np.pad(~mask, 1, constant_values=True)
    return ~_without_small(glass, spec.max_hole_mm2 / pixel_mm2)[1:-1, 1:-1]


def _without_small(mask: NDArray[np.bool_], largest: float) -> NDArray[np.bool_]:
    """The regions of more than `largest` px; pixels belong together along sides."""
    labels, count = ndimage.label(mask)
    kept = np.bincount(labels.ravel(), minlength=count + 1) > largest
    kept[0] = False
    return np.asarray(kept.take(labels, mode="clip"))


def _field(picture: Picture, spec: TissueSpec) -> Field:
    if picture.is_dark and spec.segmenter != "dark":
        raise NotBrightfield(
            f"The slide is dark, as in fluorescence; segmenter {spec.segmenter} is for stained sections.",
            "Take such slides out, or run them on their own with --segmenter dark.",
        )
    if spec.segmenter == "dark" and not picture.is_dark:
        raise NotFluorescence(
            "The slide is bright; segmenter dark is for fluorescence.", "Leave out --segmenter dark."
        )
    return "dark" if picture.is_dark else "bright"


def _grown(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilation by an octagon, the nearest to a disc that neighbours alone can make."""
    for step in range(radius):
        before, mask = mask, mask.copy()
        mask[1:] |= before[:-1]
        mask[:-1] |= before[1:]
        if step % 2:  # a square after a cross: the columns take what the rows have grown to
            before = mask.copy()
        mask[:, 1:] |= before[:, :-1]
        mask[:, :-1] |= before[:, 1:]
    return mask


def _shrunk(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Erosion by the same octagon."""
    return ~_grown(~mask, radius)
