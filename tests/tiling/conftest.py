"""Pictures of slides and what is on them, drawn by eye: `reference/*.geojson`, in level-0 px."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slidestream.tiling.annotations import Canvas, read_annotations
from slidestream.tiling.picture import Picture
from slidestream.wsi.slide import open_slide

REFERENCE = Path(__file__).parent / "reference"
SLIDES = {
    "P-2_carotid_zoomify": "wsi/P-2_carotid_zoomify.tiff",
    "CMU-1-Small-Region": "wsi/CMU-1-Small-Region.svs",
}
THUMBNAILS = {
    "tcga-diagnostic": ("thumbs_pen/histolab_thumbs/diagnostic-slide-thumb-rgb.png", 45.0),
    "tcga-red-pen": ("thumbs_pen/histolab_thumbs/tcga-red-pen.png", 2.0),
    "tcga-green-pen": ("thumbs_pen/histolab_thumbs/tcga-green-pen.png", 1.2),
    "wsi-blue-pen": ("thumbs_pen/histolab_thumbs/wsi-blue-pen.png", 60.0),
}
"""µm per px of thumbnails, which do not say it: estimated from nuclei (5 to 8 µm) and strokes (0.5 mm)."""

NAMES = [*SLIDES, *THUMBNAILS]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture at the spacing of masks, and on its pixels what a person drew: bool (h, w) each."""

    picture: Picture
    tissue: np.ndarray
    pen: np.ndarray


def picture_of(path: Path, spacing: float) -> Picture:
    """A picture file of `spacing` µm per px, averaged to 8 µm where it is finer."""
    image = Image.open(path).convert("RGB")
    shrink = min(1.0, spacing / 8.0)
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    rgb = np.asarray(image.resize(size, Image.Resampling.BOX))
    return Picture(rgb, np.ones(rgb.shape[:2], bool), spacing / shrink)


@pytest.fixture(scope="session")
def drawn(real: Callable[[str], Path]) -> Callable[[str], Drawn]:
    """`drawn(name)`: a picture with its reference."""

    def load(name: str) -> Drawn:
        if name in SLIDES:
            with open_slide(real(SLIDES[name])) as slide:
                rgb, scanned = slide.overview(8.0, 2048)
                picture = Picture(rgb, scanned, slide.size[0] * slide.spacing[0] / rgb.shape[1])
                covers = slide.size
        else:
            path, spacing = THUMBNAILS[name]
            picture, covers = picture_of(real(path), spacing), Image.open(real(path)).size
        annotations = read_annotations(REFERENCE / f"{name}.geojson")
        canvas = Canvas(picture.scanned.shape, covers)
        pen = canvas.fill(annotations, {"Pen"})
        return Drawn(picture, canvas.fill(annotations, {"Tissue"}) & ~pen, pen)

    return load
