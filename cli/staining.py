"""`stain-report`: what stain normalisation does to a cohort, before it is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Device, Inputs, Json, ReaderMemory, SlideMpp, Timeout
from .output import note, say, show_failures, show_json, show_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..cohort.config import Execution, RunConfig
    from ..cohort.inputs import Input
    from ..cohort.job import Outcome
    from ..mil.labels import Labels
    from ..report.stain_effect import Apart, StainEffect

    Means = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    """By slide, its mean embedding as scanned and normalised."""


def stain_report(
    inputs: Inputs,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the report.")],
    stain: Annotated[
        str, typer.Option(metavar="METHOD", help="macenko, vahadane, ruifrok or reinhard.")
    ] = "macenko",
    stain_target: Annotated[
        Path | None, typer.Option(metavar="SLIDE", help="What slides are made to look like.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Columns slide and the group's, perhaps patient.")
    ] = None,
    column: Annotated[str, typer.Option(metavar="NAME", help="The group's column in --labels.")] = "scanner",
    encoder: Annotated[str, typer.Option(help="Whose embeddings are asked for the group.")] = "texture",
    slide_mpp: SlideMpp = None,
    device: Device = "auto",
    timeout: Timeout = None,
    reader_memory: ReaderMemory = None,
    json: Json = False,
) -> None:
    """Show slides before and after stain normalisation, and how well their scanner can be told by it.

    INPUT may also be a run folder: its slides are shown.
    """
    from ..cohort.config import Execution
    from ..report.stain_effect import write_report
    from ..report.told_apart import read_groups

    groups = read_groups(labels, column) if labels else None
    limits = Execution.given(device=device, timeout=timeout, memory_gb=reader_memory)
    config = _config(encoder, stain, (stain_target, slide_mpp), limits)
    effects, means, failed = _effects(_slides(inputs, slide_mpp), config, limits)
    apart = _apart(groups, column, means) if groups else None
    write_report(out, effects, apart)
    _tell(out, effects, apart, failed) if not json else show_json(_document(out, effects, apart, failed))
    if failed:
        raise typer.Exit(3)


def _config(
    encoder: str, stain: str, target: tuple[Path | None, float | None], limits: Execution
) -> RunConfig:
    from .running import aim_at
    from .settings import resolve

    config = resolve(None, {"encoder": encoder, "stain.method": stain}, [])
    slide, mpp = target
    return aim_at(config, slide, mpp, limits) if slide else config


def _slides(inputs: list[Path], slide_mpp: float | None) -> list[Input]:
    from ..cohort.config import FILE
    from ..cohort.inputs import find_inputs
    from ..cohort.ledger import read_entries

    found: Iterable[Input | None]
    if len(inputs) == 1 and (inputs[0] / FILE).is_file():
        found = [entry.input for entry in read_entries(inputs[0]).values()]
    else:
        found = find_inputs(inputs, slide_mpp).inputs
    slides = [item for item in found if item and item.kind == "slide"]
    if not slides:
        raise UsageError("There are no slides among the inputs.", "Volumes have no stain.")
    return slides


def _effects(
    slides: Sequence[Input], config: RunConfig, limits: Execution
) -> tuple[list[StainEffect], Means, list[Outcome]]:
    """Every slide before and after; slides that cannot be read are told apart."""
    from ..cohort.job import FAILED, Outcome
    from ..cohort.staining import StainLook, looks

    effects, means, failed = [], {}, []
    for item, look in looks(slides, config, limits):
        if isinstance(look, StainLook):
            effect, mean = _effect(item.slide_id, look, config, limits.device)
            effects.append(effect)
            means[item.slide_id] = mean
            note(f"{item.slide_id}: {effect.refused or 'fitted'}")
        else:
            failed.append(
                Outcome(item.slide_id, FAILED, code=look.code, cause=look.cause, fix=look.fix)
            )
            note(f"{item.slide_id}: {look.code}")
    return effects, means, failed
