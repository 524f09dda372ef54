"""Which real slides can be normalised: H&E, also with pen on the glass; not other stains, ink or blood."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from slidestream.cohort.config import RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.staining import StainLook, look_at
from slidestream.errors import NotBrightfield, StainUnfit
from slidestream.stain.fitting import fit
from slidestream.stain.spec import METHODS
from slidestream.tiling.spec import PatchSpec

Real = Callable[[str], Path]
Pixels = NDArray[np.uint8]
PENS = "thumbs_pen/HistoQC_pen"
THUMBNAILS = "thumbs_pen/histolab_thumbs"

H_AND_E = {
    "wsi/CMU-1-Small-Region.svs": (None, PatchSpec(224, 1.0)),
    "wsi/CropBreastSlide.tiff": (0.5, PatchSpec(224, 1.0)),
    "wsi/multi_frame_jpeg_camelyon_challenge_image.dcm": (1.0, PatchSpec(64, 1.0)),
    f"{THUMBNAILS}/tcga-lung-rgb.png": (8.0, PatchSpec(32, 8.0)),
    f"{THUMBNAILS}/tcga-green-pen.png": (8.0, PatchSpec(32, 8.0)),
    f"{THUMBNAILS}/tcga-red-pen.png": (8.0, PatchSpec(32, 8.0)),
    f"{PENS}/pen_red.png": (8.0, PatchSpec(32, 8.0)),
}
OTHER_STAINS = {
    "ihc/DeepLIIF_large/ROI_1.png": (0.5, PatchSpec(224, 0.5)),  # haematoxylin and DAB
    "wsi/raw.dicom": (0.5, PatchSpec(64, 0.5)),  # blue and black
    # H&E, but its darkest red is blood: normalised by that, its pink tissue would come out violet.
    "wsi/P-2_carotid_zoomify.tiff": (None, PatchSpec(224, 1.0)),
}


def look(path: Path, mpp: float | None, spec: PatchSpec, method: str) -> StainLook:
    return look_at(Input("slide", str(path), "slide", mpp), RunConfig(patch=spec), method)


@pytest.mark.parametrize("name", H_AND_E)
def test_h_and_e_is_accepted(real: Real, name: str) -> None:
    found = look(real(name), *H_AND_E[name], "macenko")
    assert found.fit, found.refused
    haematoxylin, eosin = np.array(found.fit.stains)
    assert haematoxylin[0] > 0.4 > eosin[0] or haematoxylin[0] - eosin[0] > 0.2, "one is blue, one is pink"
    assert len(found.patches) > 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", OTHER_STAINS)
def test_other_stains_and_blood_are_refused(real: Real, name: str, method: str) -> None:
    found = look(real(name), *OTHER_STAINS[name], method)
    assert found.fit is None
    assert "not haematoxylin and eosin" in found.refused


def test_fluorescence_is_refused_before_it_is_fitted(real: Real) -> None:
    with pytest.raises(NotBrightfield):
        look(real("wsi/test3-DAPI-2-(387).ndpi"), None, PatchSpec(224, 1.0), "macenko")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("colour", ["black", "green", "red"])
def test_ink_is_refused(picture: Callable[[str], Pixels], colour: str, method: str) -> None:
    inked = picture(f"{PENS}/pen_{colour}_mask.png")[..., 0] > 0
    ink = np.random.default_rng(0).permutation(picture(f"{PENS}/pen_{colour}.png")[inked])
    with pytest.raises(StainUnfit):
        fit(method, ink[:130_000])
