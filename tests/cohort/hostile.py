"""Openers for tests of reader processes: what a file can do to its decoder, by the name of the input.

A module of its own, so that a reader process can import it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from slidestream.cohort.inputs import Input
from slidestream.cohort.job import Outcome, open_source
from slidestream.errors import MissingExtra
from slidestream.geometry import Region

if TYPE_CHECKING:
    from slidestream.cohort.plan import Step


class Hostile:
    """A slide that does something to its process when any but its first batch is read."""

    def __init__(self, slide: Any, item: Input) -> None:
        self._slide, self._item = slide, item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slide, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._slide.close()

    def read_patches(self, regions: Sequence[Region], out: np.ndarray) -> np.ndarray:
        with open(Path(self._item.path).with_suffix(".reads"), "a") as log:
            log.write(f"{os.getpid()} {len(regions)}\n")
        if regions[0].origin != (0.0, 0.0):
            misbehave(self._item.slide_id)
            die_once(Path(self._item.path))
        return self._slide.read_patches(regions, out)


def misbehave(name: str) -> None:
    if name.startswith("crash"):
        os.abort()
    if name.startswith("stall"):
        time.sleep(600)
    if name.startswith("bomb"):
        np.ones(8 << 30, np.uint8)
    if name.startswith("defect"):
        raise RuntimeError("Patient Jane Doe")


def die_once(path: Path) -> None:
    """A slide called "once..." ends the first process that reads it, and no other."""
    if path.name.startswith("once") and not path.with_suffix(".died").exists():
        path.with_suffix(".died").touch()
        os.abort()


def open_hostile(item: Input, scaling: Any) -> Any:
    """A slide that misbehaves as its name says, while it is opened or while it is read."""
    loaded = sorted({"openslide", "sklearn", "torch", "zarr"} & set(sys.modules))
    Path(item.path).with_suffix(".modules").write_text(" ".join(loaded))
    if item.slide_id.endswith("-open"):
        misbehave(item.slide_id)
    return Hostile(open_source(item, scaling), item)


def raise_missing_extra() -> None:
    raise MissingExtra("nibabel is not installed.", "pip install 'slidestream[radiology]'")


class Silent:
    """Watches a run and says nothing."""

    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...
