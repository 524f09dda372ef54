"""A slide before it is painted: where its tissue, its focus and every one of its nuclei are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .synthetic_anatomy import add_fat, add_glands, add_lymphoid, add_scattered
from .synthetic_field import Mask, at, enlarge, highest, scattered, smooth_noise
from .synthetic_layers import FINE, Layers, Matter, cover, lay_stroma, soften
from .synthetic_nuclei import ATYPICAL, Nuclei, centres_of, place
from .synthetic_outline import draw_focus, draw_tissue
from .synthetic_spec import CohortSpec, SlideRow, cohort_rows
from .synthetic_stain import SCANNERS, Stain, draw_stain

MASK_SPACING = 8.0
TUMOUR = Matter(eosin=0.20, haematoxylin=0.05, fibre=0.08)
NESTS = 0.82
NEST_WIDTH = 75.0
CROWDING = 14.6


@dataclass(frozen=True)
class SlidePlan:
    """Everything that decides a slide's pixels.

    Attributes:
        spec: of the cohort.
        index: of the slide in it.
        row: the slide's row in the labels table.
        mpp: µm per px at full resolution.
        tissue, focus: bool (m, m) over the whole slide, about `MASK_SPACING` µm per px.
        layers: what lies between the nuclei.
        nuclei: `NUCLEUS` (N,), positions and diameters in µm, from top to bottom: the truth to test against.
        stain: how densities become colours.
    """

    spec: CohortSpec
    index: int
    row: SlideRow
    mpp: float
    tissue: Mask
    focus: Mask
    layers: Layers
    nuclei: Nuclei
    stain: Stain

    @property
    def mask_spacing(self) -> float:
        """Exact µm per px of `tissue` and `focus`."""
        return self.spec.side_px * self.mpp / len(self.focus)

    def in_focus(self, nuclei: Nuclei) -> Mask:
        """Which of these nuclei lie in the focus, bool (N,)."""
        return at(self.focus, centres_of(nuclei), self.mask_spacing)


def plan_slide(spec: CohortSpec, index: int) -> SlidePlan:
    """The plan of one slide of a cohort: the same for the same arguments, whatever was drawn before."""
    healthy = plan_healthy(spec, index)
    return plant_tumour(healthy) if healthy.row.label == "high" else healthy


def plan_healthy(spec: CohortSpec, index: int) -> SlidePlan:
    """The slide with a focus that is like the tissue around it: what a low-grade slide is."""
    row = cohort_rows(spec)[index]
    rng = np.random.default_rng([spec.seed, 6, index])
    mpp = SCANNERS[row.scanner].mpp
    size = round(spec.side_px * mpp / MASK_SPACING)
    tissue = draw_tissue(rng, size)
    focus = draw_focus(rng, tissue)
    layers = lay_stroma(rng, tissue, spec.side_px * mpp / size / FINE)
    stain = draw_stain(rng, row.scanner)
    nuclei = _top_down(_anatomy(rng, spec.seed, layers, 1 / mpp))
    return SlidePlan(spec, index, row, mpp, tissue, focus, layers, nuclei, stain)


def plant_tumour(plan: SlidePlan) -> SlidePlan:
    """The same slide with high-grade tumour in its focus, and not one nucleus changed outside it.

    Nests of crowded, large, uneven and dark nuclei take the place of what was there; septa between the
    nests keep their stroma. Nuclei are about 1.7 times as wide and 2.4 times as many as elsewhere.
    """
    rng = np.random.default_rng([plan.spec.seed, 7, plan.index])
    nests = _nests(rng, plan)
    layers = plan.layers.copy()
    cover(layers, soften(nests, 0.8) * layers.section, TUMOUR)
    kept = plan.nuclei[~at(nests, centres_of(plan.nuclei), layers.spacing)]
    points = scattered(rng, len(nests) * layers.spacing, CROWDING)
    points = points[at(nests, points, layers.spacing)]
    atypical = place(rng, plan.spec.seed, ATYPICAL, points)
    return replace(plan, layers=layers, nuclei=_top_down([kept, atypical]))


def _anatomy(rng: np.random.Generator, seed: int, layers: Layers, px_per_um: float) -> list[Nuclei]:
    """Order matters: glands leave the fat alone, and scattered cells fill what stroma is left."""
    add_fat(rng, layers)
    glands = add_glands(rng, seed, layers)
    lymphoid = add_lymphoid(rng, seed, layers)
    return [glands, lymphoid, add_scattered(rng, seed, layers, px_per_um)]


def _nests(rng: np.random.Generator, plan: SlidePlan) -> Mask:
    """The part of the focus that tumour cells fill, at the spacing of the layers."""
    size = len(plan.layers.eosin)
    strict = np.repeat(np.repeat(plan.focus, FINE, axis=0), FINE, axis=1)
    smooth = enlarge(plan.focus.astype(np.float32), size) > 0.5
    noise = smooth_noise(rng, size, NEST_WIDTH / plan.layers.spacing)
    return highest(-np.abs(noise + 0.6), strict & smooth & (plan.layers.section > 0.7), NESTS)


def _top_down(nuclei: list[Nuclei]) -> Nuclei:
    together = np.concatenate(nuclei)
    ordered: Nuclei = together[np.lexsort((together["x"], together["y"]))]
    return ordered
