"""One input in, one store out: the same function on this machine and on a cluster."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import EnvironmentProblem, InputError, InputNotFound, SlidestreamError, Unreadable
from ..features.encoder import Encoder, load_encoder
from ..features.layout import SCHEMA, store_path
from ..features.writer import StoreWriter
from ..radiology.choice import Asked
from ..radiology.volume import Volume, open_volume
from ..spec import Spec
from ..status import OK, OUTSIDE, UNREADABLE
from ..tiling.grid import PatchGrid
from ..tiling.overview import Overview, overview
from ..tiling.spec import PatchSpec
from ..tiling.stream import PatchBatch, Reading, stream_patches
from ..tiling.tissue import tissue_fraction
from ..wsi.slide import Slide, open_slide
from .config import Execution, RunConfig
from .inputs import Input
from .interrupt import uninterrupted

OnPatches = Callable[[int, int], None]
"""Called with the patches done so far and the patches in all."""

DONE, NO_TISSUE, FAILED = "done", "no_tissue", "failed"


@dataclass(frozen=True)
class Job:
    """One input of a run."""

    input: Input
    config: RunConfig
    run: Path
    execution: Execution


@dataclass(frozen=True)
class Outcome(Spec):
    """How one input ended.

    Attributes:
        status: "done", "no_tissue" or "failed".
        patches: rows in the store; unreadable and outside: how many of them have no embedding.
        seconds: wall time.
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


def process(job: Job, on_patches: OnPatches | None = None) -> Outcome:
    """Read, encode and store one input. Whatever is wrong with it ends in a failed outcome.

    Raises:
        EnvironmentProblem: nothing about the input: no disk space, no GPU, a missing extra.
    """
    start = time.perf_counter()
    slide_id = job.input.slide_id
    try:
        status = _store(job, on_patches or _silent)
    except InputError as error:
        failure = Outcome(slide_id, FAILED, code=error.code, cause=error.cause, fix=error.fix)
        return _timed(failure, start)
    except (EnvironmentProblem, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - one bad slide costs one slide, whatever it does to a decoder
        return _timed(Outcome(slide_id, FAILED, code="INTERNAL", cause=_where(error), fix=_REPORT), start)
    unreadable, outside = int((status == UNREADABLE).sum()), int((status == OUTSIDE).sum())
    ended = DONE if len(status) else NO_TISSUE
    return _timed(Outcome(slide_id, ended, len(status), unreadable, outside), start)


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


_REPORT = "This is a defect of slidestream: please report it with the line above."


def open_source(item: Input, scaling: Asked = "auto") -> Slide | Volume:
    """The slide or volume of an input; `scaling` is for volumes.

    Raises:
        InputError: it cannot be opened or has no plausible spacing.
    """
    path = Path(item.path)
    if not path.exists():
        raise InputNotFound(f"There is no file {path.name}.", "Check the path in the manifest.")
    return open_volume(path, scaling=scaling) if item.kind == "volume" else open_slide(path, item.mpp)


def patch_spec(config: RunConfig, source: Slide | Volume) -> PatchSpec:
    """What a run asks of this source: slides and volumes have a spec each."""
    return config.volume if isinstance(source, Volume) else config.patch


def _store(job: Job, on_patches: OnPatches) -> NDArray[np.uint8]:
    """Write the store of one input; returns the status of its patches."""
    encoder = cached_encoder(job.config.encoder, job.execution.device)
    with open_source(job.input, job.config.scaling) as source:
        spec = patch_spec(job.config, source)
        source.check_spacing(spec.spacing, spec.max_upsampling)
        grid = PatchGrid.cover(source.bounds, source.spacing, spec)
        look = overview(source)
        grid, tissue = with_tissue(grid, look, spec)
        place = store_path(job.run, job.input.slide_id)
        with StoreWriter(place, _fixed(grid, tissue, look), encoder.card.dim) as writer:
            reading = Reading(spec.size_px, job.execution.batch_size, job.execution.workers)
            statuses = [np.empty(0, np.uint8)]
            done = 0
            for batch in stream_patches(source, grid, reading):
                writer.append(batch.status, _embed(encoder, batch, job.execution.device))
                statuses.append(batch.status)
                done += len(batch.status)
                on_patches(done, len(grid))
            status = np.concatenate(statuses)
            _check_readable(status, job.config.max_unreadable)
            attributes = _attributes(job, encoder, source, grid) | {"background": look.background}
            with uninterrupted():
                writer.commit(attributes)
    return status


def with_tissue(grid: PatchGrid, look: Overview, spec: PatchSpec) -> tuple[PatchGrid, NDArray[np.float64]]:
    """The patches with enough tissue, and how much each has (N,)."""
    tissue = tissue_fraction(look.mask, look.covers, grid)
    # Where nothing is asked for, background patches stay; else a patch must have some tissue at all.
    kept = (tissue >= spec.min_tissue) & ((tissue > 0) | (spec.min_tissue == 0))
    return grid.keep(kept), tissue[kept]


def _fixed(grid: PatchGrid, tissue: NDArray[np.float64], look: Overview) -> dict[str, NDArray[Any]]:
    return {"coords": grid.origins, "tissue": tissue, "thumbnail": look.thumbnail, "mask": look.footprint}


@functools.lru_cache(maxsize=2)
def cached_encoder(name: str, device: str) -> Encoder:
    """The encoder, built once per process."""
    return load_encoder(name, device)


def _embed(encoder: Encoder, batch: PatchBatch, device: str) -> NDArray[np.float32]:
    """Embeddings of the patches that could be read."""
    readable = batch.pixels[batch.status == OK]
    if not len(readable):
        return np.empty((0, encoder.card.dim), np.float32)
    pixels = torch.from_numpy(readable).to(device).permute(0, 3, 1, 2)
    embedded: NDArray[np.float32] = encoder(pixels).cpu().numpy()
    return embedded


def _check_readable(status: NDArray[np.uint8], budget: float) -> None:
    bad = int((status == UNREADABLE).sum())
    if bad > budget * len(status):
        raise Unreadable(
            f"{bad} of {len(status)} patches cannot be decoded.",
            "Copy the file again from its source, or raise --max-unreadable.",
        )


def _attributes(job: Job, encoder: Encoder, source: Slide | Volume, grid: PatchGrid) -> dict[str, Any]:
    packages = ("slidestream", "torch", "numpy", "openslide-python", "openslide-bin")
    return {
        "schema": SCHEMA,
        "slide_id": job.input.slide_id,
        "source": source.describe(),
        "patch": patch_spec(job.config, source).to_dict(),
        "extent": list(grid.extent),
        "encoder": encoder.card.to_dict(),
        "stain": None,
        "software": {package: version(package) for package in packages},
    }


def _where(error: Exception) -> str:
    """Type and place of an unforeseen error, never its message: that may quote a patient's header."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    code = error.code if isinstance(error, SlidestreamError) else type(error).__name__
    return f"{code} in {Path(frame.filename).name}, line {frame.lineno}."


def _timed(outcome: Outcome, start: float) -> Outcome:
    return replace(outcome, seconds=round(time.perf_counter() - start, 3))
