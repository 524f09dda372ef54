"""Another slide as the target that a run's slides are made to look like."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ..errors import StainUnfit, UsageError
from ..radiology.volume import Volume
from ..stain.sampling import Tissue, fit_slide
from ..stain.spec import StainFit
from ..tiling.stream import Reading
from .apart import answers
from .config import Execution, RunConfig
from .inputs import Input
from .job import coloured, open_source
from .reading import patches_of


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


def fit_input(item: Input, config: RunConfig, method: str) -> StainFit:
    """The stain of a slide, on the patches that the configuration would read of it."""
    with open_source(item, config.scaling) as opened:
        source = coloured(opened, config)
        if isinstance(source, Volume):
            raise UsageError(f"{item.slide_id} is a volume, which has no stain.")
        grid, _, look = patches_of(source, config.patch, config.tissue)
        if not len(grid):
            raise StainUnfit(f"No tissue was found on {item.slide_id}.", "Name another slide as the target.")
        return fit_slide(method, Tissue(source, grid, look.background), Reading(config.patch.size_px))
