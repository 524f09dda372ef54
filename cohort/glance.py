"""A slide seen as a whole, in a process of its own: thumbnail, tissue as polygons, quality; no patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..radiology.volume import Volume
from ..tiling.annotations import Annotation, tissue_annotations
from ..tiling.overview import overview
from ..tiling.quality import SlideQuality, slide_quality
from ..tiling.spec import TissueSpec
from .apart import Question
from .inputs import Input
from .job import Opener
from .regions import regions_of


@dataclass(frozen=True, eq=False)
class Glance:
    """What is seen of a slide or a volume without reading its patches.

    Attributes:
        thumbnail: uint8 (h, w, 3).
        footprint: tissue on its pixels, uint8 (h, w), 0 or 1.
        tissue: of a slide, as regions in level-0 px; none of a volume.
        quality: of a slide, else None.
    """

    thumbnail: NDArray[np.uint8]
    footprint: NDArray[np.uint8]
    tissue: Sequence[Annotation]
    quality: SlideQuality | None


@dataclass(frozen=True)
class Wanted:
    """How tissue is found, and by whom.

    Attributes:
        tissue: by the algorithm.
        roi: a GeoJSON file or a folder of them; empty for none.
        roi_class: of the regions that limit tissue, the one class that counts; empty for all.
    """

    tissue: TissueSpec
    roi: str = ""
    roi_class: str = ""


def ask_glance(item: Input, opener: Opener, wanted: Wanted) -> Question:
    """The question what is on an input; the answer is a `Glance`."""
    return partial(_glance, item, opener, wanted)


def _glance(item: Input, opener: Opener, wanted: Wanted) -> Glance:
    with opener(item, "auto") as source:
        drawn = regions_of(wanted.roi, wanted.roi_class, item)
        look = overview(source, wanted.tissue, drawn)
        if isinstance(source, Volume):
            return Glance(look.thumbnail, look.footprint, [], None)
        quality = slide_quality(look, source.spacing)
        return Glance(look.thumbnail, look.footprint, tissue_annotations(look.mask, look.covers), quality)
