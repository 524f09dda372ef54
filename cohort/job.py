"""What is asked for one input, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputNotFound
from ..features.card import EncoderCard
from ..features.writer import unreadable
from ..radiology.choice import Asked
from ..radiology.volume import Volume, open_volume
from ..spec import Spec
from ..status import OUTSIDE, RULES
from ..wsi.remote_bytes import url_of
from ..wsi.slide import Slide, open_slide
from .config import Execution, RunConfig
from .inputs import Input

DONE, NO_TISSUE, FAILED = "done", "no_tissue", "failed"

Opener = Callable[[Input, Asked], Slide | Volume]
"""Opens an input; a function of a module, so that another process can find it by name."""


def open_source(item: Input, scaling: Asked = "auto") -> Slide | Volume:
    """The slide or volume of an input; `scaling` is for volumes.

    Raises:
        InputError: it cannot be opened or has no plausible spacing.
    """
    if url_of(item.path):
        return open_slide(item.path, item.mpp)
    path = Path(item.path)
    if not path.exists():
        raise InputNotFound(f"There is no file {path.name}.", "Check the path in the manifest.")
    return open_volume(path, scaling=scaling) if item.kind == "volume" else open_slide(path, item.mpp)


def coloured(source: Slide | Volume, config: RunConfig) -> Slide | Volume:
    """The source in the colours that are asked for.

    Raises:
        UnsupportedFormat: the slide's colour profile is damaged.
    """
    return source.in_srgb() if config.icc and isinstance(source, Slide) else source


@dataclass(frozen=True)
class Job:
    """One input of a run.

    Attributes:
        opener: opens the input.
        card: of the encoder. Without it rows of a killed run are not taken over: they might be another's.
        others: the same input for other encoders, in run folders of their own; its pixels are read once.
    """

    input: Input
    config: RunConfig
    run: Path
    execution: Execution
    opener: Opener = open_source
    card: EncoderCard | None = None
    others: tuple[Job, ...] = ()

    @property
    def members(self) -> tuple[Job, ...]:
        """This job and the others that are done with it."""
        return (self, *self.others)


def grouped(jobs: Iterable[Job]) -> list[Job]:
    """Jobs of the same input as one, in the order of their first."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.input.slide_id, []).append(job)
    return [replace(first, others=tuple(others)) for first, *others in groups.values()]


@dataclass(frozen=True)
class Outcome(Spec):
    """How one input ended.

    Attributes:
        status: "done", "no_tissue" or "failed".
        patches: rows in the store; unreadable, outside and excluded: how many have no embedding for that.
        seconds: wall time that the run spent on it, without what was read ahead meanwhile.
        code, cause, fix: of the failure, else empty.
        quarantine: level-0 coordinates of the patches that could not be decoded.
        same_as: the slide with the same content that it was copied from, or empty.
    """

    slide_id: str
    status: str
    patches: int = 0
    unreadable: int = 0
    outside: int = 0
    excluded: int = 0
    seconds: float = 0.0
    code: str = ""
    cause: str = ""
    fix: str = ""
    quarantine: tuple[tuple[int, ...], ...] = ()
    same_as: str = ""


def stored(slide_id: str, status: NDArray[np.uint8], coords: NDArray[Any]) -> Outcome:
    """The outcome of an input that has a store, by the status (N,) and place (N, 2|3) of its patches."""
    quarantine = tuple(tuple(corner) for corner in unreadable(status, coords))
    outside, excluded = int((status == OUTSIDE).sum()), int(np.isin(status, list(RULES.values())).sum())
    ended = DONE if len(status) > excluded else NO_TISSUE
    return Outcome(slide_id, ended, len(status), len(quarantine), outside, excluded, quarantine=quarantine)
