"""The built-in target: the colours that slides are made to look like unless another slide is named."""

from __future__ import annotations

from .spec import StainFit

STAINS = ((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581))
STRENGTHS = (1.9705, 1.0308)
"""The reference that the field uses: M. Veta's implementation of Macenko et al. 2009, in
github.com/mitkovetta/staining-normalization (2013), and after it torchstain, QuPath's eosin and others."""

LAB_MEAN = (63.19, 19.82, -8.75)
LAB_STD = (15.45, 5.65, 4.88)
"""CIELAB of tissue in the same colours, for which the field has no reference: measured on OpenSlide's
CMU-1-Small-Region (Aperio, CC0) after `macenko` had given it the stains above."""


def reference(method: str) -> StainFit:
    """The built-in target of a method."""
    if method == "reinhard":
        return StainFit(method, lab_mean=LAB_MEAN, lab_std=LAB_STD)
    return StainFit(method, STAINS, STRENGTHS)
