"""What is asked for one input, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputNotFound
from ..features.card import EncoderCard
from ..radiology.choice import Asked
from ..radiology.volume import Volume, open_volume
from ..spec import Spec
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


@dataclass(frozen=True)
class Job:
    """One input of a run.

    Attributes:
        opener: opens the input.
        card: of the encoder. Without it rows of a killed run are not taken over: they might be another's.
    """

    input: Input
    config: RunConfig
    run: Path
    execution: Execution
    opener: Opener = open_source
    card: EncoderCard | None = None


@dataclass(frozen=True)
class Outcome(Spec):
    """How one input ended.

    Attributes:
        status: "done", "no_tissue" or "failed".
        patches: rows in the store; unreadable and outside: how many of them have no embedding.
        seconds: wall time that the run spent on it, without what was read ahead meanwhile.
        code, cause, fix: of the failure, else empty.
    """

    slide_id: str
    status: str
    patches: int = 0
    unreadable: int = 0
    outside: int = 0
    seconds: float = 0.0
    code: str = ""
    cause: str = ""
    fix: str = ""
