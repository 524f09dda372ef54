"""The stain of slides outside a run: of a target, and of a cohort that is only looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import SlidestreamError, StainUnfit, UsageError
from ..radiology.volume import Volume
from ..stain.sampling import Tissue, fit_slide
from ..stain.spec import StainFit
from ..status import OK
from ..tiling.stream import Reading, stream_patches
from .apart import answers
from .config import Execution, RunConfig
from .inputs import Input
from .job import open_source
from .reading import patches_of

LOOKED_AT = 24
SEED = 1


@dataclass(frozen=True, eq=False)
class StainLook:
    """A slide's stain, and some of its patches.

    Attributes:
        fit: None where it was refused.
        refused: why, or empty.
        patches: uint8 (P, size_px, size_px, 3), at most 24.
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
    """The stain of a slide, on the patches that the configuration would read of it."""
    with _tissue_of(item, config) as tissue:
        return fit_slide(method, tissue, Reading(config.patch.size_px))


def look_at(item: Input, config: RunConfig, method: str) -> StainLook:
    """The same, and patches to look at; a stain that is refused is told, not raised."""
    with _tissue_of(item, config) as tissue:
        reading = Reading(config.patch.size_px)
        few = tissue.grid.sample(LOOKED_AT, SEED)
        with closing(stream_patches(tissue.source, few, reading)) as batches:
            patches = np.concatenate([batch.pixels[batch.status == OK] for batch in batches])
        try:
            return StainLook(fit_slide(method, tissue, reading), "", patches)
        except StainUnfit as error:
            return StainLook(None, error.cause, patches)


@contextmanager
def _tissue_of(item: Input, config: RunConfig) -> Iterator[Tissue]:
    with open_source(item, config.scaling) as source:
        if isinstance(source, Volume):
            raise UsageError(f"{item.slide_id} is a volume, which has no stain.")
        grid, _, look = patches_of(source, config.patch, config.tissue)
        if not len(grid):
            raise StainUnfit(f"No tissue was found on {item.slide_id}.", "Name another slide.")
        yield Tissue(source, grid, look.background)
