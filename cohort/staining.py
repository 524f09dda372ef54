"""The stain of slides outside a run: of a target, and of a cohort that is only looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import SlidestreamError, StainUnfit, Unreadable, UsageError
from ..stain.sampling import MAX_PIXELS_READ, Tissue, fit_slide
from ..stain.spec import StainFit
from ..status import OK
from ..tiling.annotations import Annotation
from ..tiling.stream import Reading, stream_patches
from .apart import answers
from .config import Execution, RunConfig
from .inputs import Input
from .job import coloured, open_source
from .reading import patches_of
from .regions import regions_of

LOOKED_AT = 24
SEED = 1


@dataclass(frozen=True, eq=False)
class StainLook:
    """A slide's stain, and some of its patches.

    Attributes:
        fit: None where it was refused.
        refused: why, or empty.
        patches: uint8 (P, size_px, size_px, 3), at most 24, from all over the tissue.
    """

    fit: StainFit | None
    refused: str
    patches: NDArray[np.uint8]


def with_target(config: RunConfig, target: Input, limits: Execution) -> RunConfig:
    """The configuration with a slide's stain as the target, fitted in a process of its own.

    Raises:
        UsageError: no stain method is asked for, or the target is a volume.
        InputError: the slide cannot be read, or its stain cannot be fitted.
    """
    if config.stain is None:
        raise UsageError("A stain target without a stain method.", "Add --stain macenko, for example.")
    if target.kind == "volume":
        raise UsageError(f"{target.slide_id} is a volume, which has no stain.")
    question = partial(fit_input, target, config, config.stain.method)
    ((_, answer),) = answers([(None, question)], limits)
    if answer.error:
        raise answer.error
    return replace(config, stain=replace(config.stain, target=answer.value))


def looks(
    items: Sequence[Input], config: RunConfig, method: str, limits: Execution
) -> Iterator[tuple[Input, StainLook | SlidestreamError]]:
    """Each slide with its stain, or with why it cannot be read; each in a process of its own."""
    asked = ((item, partial(look_at, item, config, method)) for item in items)
    for item, answer in answers(asked, limits):
        yield item, answer.error or answer.value


def fit_input(item: Input, config: RunConfig, method: str) -> StainFit:
    """The stain of a slide, on the patches that the configuration would read of it.

    Regions drawn on the slides of a run (`roi`) are not those of the target.
    """
    with _tissue_of(item, config, []) as tissue:
        return fit_slide(method, tissue, Reading(config.patch.size_px))


def look_at(item: Input, config: RunConfig, method: str) -> StainLook:
    """The stain and some patches; a stain that is refused is told, not raised.

    Raises:
        InputError: the slide cannot be read.
    """
    reading = Reading(config.patch.size_px)
    with _tissue_of(item, config, regions_of(config.roi, config.roi_class, item)) as tissue:
        patches = _some_patches(tissue, reading)
        try:
            return StainLook(fit_slide(method, tissue, reading), "", patches)
        except StainUnfit as error:
            return StainLook(None, error.cause, patches)


def _some_patches(tissue: Tissue, reading: Reading) -> NDArray[np.uint8]:
    few = tissue.grid.sample(min(LOOKED_AT, max(1, MAX_PIXELS_READ // reading.size_px**2)), SEED)
    parts = [np.empty((0, reading.size_px, reading.size_px, 3), np.uint8)]
    with closing(stream_patches(tissue.source, few, reading)) as batches:
        parts += [batch.pixels[batch.status == OK] for batch in batches]
    patches = np.concatenate(parts)
    if len(few) and not len(patches):
        raise Unreadable(
            f"Not one of {len(few)} patches could be read.", "Copy the file again from its source."
        )
    return patches


@contextmanager
def _tissue_of(item: Input, config: RunConfig, drawn: Sequence[Annotation]) -> Iterator[Tissue]:
    with open_source(item, config.scaling) as opened:
        source = coloured(opened, config)
        grid, _, look = patches_of(source, config.patch, config.tissue, drawn)
        yield Tissue(source, grid, look.background)
