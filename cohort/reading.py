"""The reading half of a job: from an input to its patches. Nothing here needs an encoder or torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..features.layout import store_path
from ..features.writer import Resume, layouts_of, rows_to_keep
from ..radiology.volume import Volume
from ..spec import json_digest
from ..stain.sampling import Tissue, fit_as_asked
from ..stain.spec import StainFit
from ..tiling.annotations import Annotation
from ..tiling.grid import PatchGrid
from ..tiling.overview import Overview, overview
from ..tiling.quality import Judged, SlideQuality, slide_quality
from ..tiling.source import Readable
from ..tiling.spec import PatchSpec, TissueSpec
from ..tiling.stream import PatchBatch, Reading, stream_patches
from ..tiling.tissue import tissue_fraction
from ..wsi.slide import Slide
from .config import RunConfig
from .job import Job, coloured
from .looking import facts_of
from .regions import regions_of, tissue_attributes


@dataclass(frozen=True)
class Prepared:
    """What is known of an input before its patches are read.

    Attributes:
        source: JSON facts about it, see `PatchSource.describe`.
        spec: of its patches.
        grid: the patches with enough tissue.
        tissue: how much tissue each has, float64 (N,).
        thumbnail, footprint, background: see `Overview`.
        stain: its colours, where patches are to be normalised.
        quality: of the slide as a whole; None for a volume.
        first: how many rows a killed run left for every encoder; reading begins after them.
    """

    source: dict[str, Any]
    spec: PatchSpec
    grid: PatchGrid
    tissue: NDArray[np.float64]
    thumbnail: NDArray[np.uint8]
    footprint: NDArray[np.uint8]
    background: str
    stain: StainFit | None
    quality: SlideQuality | None
    first: int

    @property
    def fixed(self) -> dict[str, NDArray[Any]]:
        """The arrays of the store that are known before reading."""
        return {
            "coords": self.grid.origins,
            "tissue": self.tissue,
            "thumbnail": self.thumbnail,
            "mask": self.footprint,
        }


@dataclass(frozen=True)
class Feed:
    """An input as the encoding half takes it: what is known, then its batches in order.

    The pixels of a batch hold until the next one is asked for.
    """

    prepared: Prepared
    batches: Iterator[PatchBatch]


@contextmanager
def read_here(job: Job) -> Iterator[Feed]:
    """Read an input within this process.

    Raises:
        InputError: it cannot be opened, has no plausible spacing, or no patch fits.
    """
    with job.opener(job.input, job.config.scaling) as source:
        prepared, readable = prepare(source, job)
        with closing(stream_patches(readable, prepared.grid, reading_of(job, prepared))) as batches:
            yield Feed(prepared, batches)


def prepare(source: Slide | Volume, job: Job) -> tuple[Prepared, Readable]:
    """Check the spacing, find the tissue, lay the grid; also the source as its patches are to be read.

    Raises:
        UnsupportedFormat: its colour profile is damaged, and colours are to be taken to sRGB by it.
        SpacingTooFine, TooSmall, Unreadable: this source cannot serve the patches asked for.
        NotBrightfield, NotFluorescence: its tissue is not for the segmenter asked for.
        BadAnnotation: the regions drawn on it cannot be read.
        StainUnfit: its stain cannot be normalised.
    """
    source = coloured(source, job.config)
    spec = patch_spec(job.config, source)
    drawn = regions_of(job.config.roi, job.config.roi_class, job.input)
    grid, tissue, look = patches_of(source, spec, job.config.tissue, drawn)
    facts = facts_of(source, job.config.identity)
    asked = job.config.stain_of(facts["kind"])
    reading = Reading(spec.size_px, workers=job.execution.workers)
    stain = fit_as_asked(asked, Tissue(source, grid, look.background), reading) if asked else None
    quality = None if isinstance(source, Volume) else slide_quality(look, source.spacing)
    known = (facts, spec, grid, tissue, look.thumbnail, look.footprint, look.background, stain, quality)
    prepared = Prepared(*known, 0)
    first = min(_rows_left(each, prepared) for each in job.members)
    rules = job.config.quality
    judged = rules.exclude and not isinstance(source, Volume)
    readable = Judged(source, look, rules, spec.spacing) if judged else source
    return replace(prepared, first=first), readable


def _rows_left(job: Job, prepared: Prepared) -> int:
    """How many rows a killed run left for one encoder."""
    dim = job.card.dim if job.card else 0
    place = store_path(job.run, job.input.slide_id)
    return rows_to_keep(place, layouts_of(prepared.fixed, dim), resume_of(job, prepared))


def resume_of(job: Job, prepared: Prepared) -> Resume:
    """By what the rows of a killed run are known as this one's."""
    if job.card is None:
        return Resume()
    facts = prepared.source
    rows_depend_on = {"source": facts, "patch": prepared.spec.to_dict(), "encoder": job.card.to_dict()}
    rows_depend_on |= stain_attributes(job.config, facts["kind"], prepared.stain)
    rows_depend_on |= tissue_attributes(job.config, job.input)
    return Resume(json_digest(rows_depend_on), job.execution.batch_size)


def stain_attributes(config: RunConfig, kind: str, fit: StainFit | None) -> dict[str, Any]:
    """What a store records of the stain: what was asked for, and what was found on the slide."""
    asked = config.stain_of(kind)
    return {"stain": asked.to_dict() if asked else None, "stain_fit": fit.to_dict() if fit else None}


def patch_spec(config: RunConfig, source: Slide | Volume) -> PatchSpec:
    """What a run asks of this source: slides and volumes have a spec each."""
    return config.volume if isinstance(source, Volume) else config.patch


def patches_of(
    source: Slide | Volume, spec: PatchSpec, tissue: TissueSpec, drawn: Sequence[Annotation] = ()
) -> tuple[PatchGrid, NDArray[np.float64], Overview]:
    """The patches with enough tissue, how much each has (N,), and the look at the source that says so."""
    source.check_spacing(spec.spacing, spec.max_upsampling)
    grid = PatchGrid.cover(source.bounds, source.spacing, spec)
    look = overview(source, tissue, drawn)
    return *with_tissue(grid, look, spec), look


def with_tissue(grid: PatchGrid, look: Overview, spec: PatchSpec) -> tuple[PatchGrid, NDArray[np.float64]]:
    """The patches with enough tissue, and how much each has (N,)."""
    tissue = tissue_fraction(look.mask, look.covers, grid)
    # Where nothing is asked for, background patches stay; else a patch must have some tissue at all.
    kept = (tissue >= spec.min_tissue) & ((tissue > 0) | (spec.min_tissue == 0))
    return grid.keep(kept), tissue[kept]


def reading_of(job: Job, prepared: Prepared) -> Reading:
    """How the patches of a job are read."""
    means = job.execution
    return Reading(prepared.spec.size_px, means.batch_size, means.workers, prepared.first)
