"""The encoding half of a job: patches in, one store out; the same function here and on a cluster."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EnvironmentProblem, Unreadable
from ..features.card import EncoderCard
from ..features.encoder import card_of
from ..features.layout import SCHEMA, store_path
from ..features.writer import StoreWriter
from ..status import OK, UNREADABLE
from ..tiling.stream import PatchBatch
from .failure import coded
from .interrupt import uninterrupted
from .job import FAILED, Job, Outcome, open_source, stored
from .reading import Feed, Prepared, read_here, stain_attributes
from .regions import tissue_attributes

if TYPE_CHECKING:
    from ..stain.table import ColourTable

__all__ = ["FAILED", "Job", "OnPatches", "Outcome", "open_source", "process"]

Embed = Callable[[NDArray[np.uint8], "ColourTable | None"], NDArray[np.float32]]
"""Patches uint8 (B, H, W, 3), in new colours if there is a table, to embeddings float32 (B, dim)."""

OnPatches = Callable[[int, int], None]
"""Called with the patches done so far and the patches in all."""


def process(
    job: Job, on_patches: OnPatches | None = None, feed: AbstractContextManager[Feed] | None = None
) -> Outcome:
    """Read, encode and store one input. Whatever is wrong with it ends in a failed outcome.

    Args:
        feed: the job's patches; by default they are read within this process.

    Raises:
        EnvironmentProblem: nothing about the input: no disk space, no GPU, a missing extra.
    """
    start = time.perf_counter()
    slide_id = job.input.slide_id
    try:
        ended = _store(job, feed or read_here(job), on_patches or _silent)
    except EnvironmentProblem:
        raise
    except Exception as error:  # noqa: BLE001 - one bad slide costs one slide, whatever it does to a decoder
        why = coded(error)
        return _timed(Outcome(slide_id, FAILED, code=why.code, cause=why.cause, fix=why.fix), start)
    return _timed(ended, start)


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


def _store(job: Job, feed: AbstractContextManager[Feed], on_patches: OnPatches) -> Outcome:
    """Write the store of one input."""
    card = card_of(job.config.encoder)
    embed = _embedder(job) if card.dim else _no_embeddings
    place = store_path(job.run, job.input.slide_id)
    with feed as fed, _writer(place, fed.prepared, card.dim) as writer:
        colours = _new_colours(job, fed.prepared) if card.dim else None
        for batch in fed.batches:
            embedded = embed(_readable(batch), colours)
            with uninterrupted():
                writer.append(batch.status, embedded)
            on_patches(writer.rows_done, len(fed.prepared.grid))
        status = writer.status_so_far()
        _check_readable(status, job.config.max_unreadable)
        with uninterrupted():
            writer.commit(_attributes(job, card, fed.prepared))
    return stored(job.input.slide_id, status, fed.prepared.grid.origins)


def _writer(place: Path, prepared: Prepared, dim: int) -> StoreWriter:
    return StoreWriter(place, prepared.fixed, dim, prepared.resume)


def _embedder(job: Job) -> Embed:
    return cached_embedder(job.config.encoder, job.execution.device, job.config.precision)


@functools.lru_cache(maxsize=2)
def cached_embedder(name: str, device: str, precision: str = "fp32") -> Embed:
    """The encoder with what it learns of the device's memory, once per process."""
    from ..features.embedder import Embedder
    from ..features.encoder import load_encoder, resolve_device

    device = resolve_device(device)
    return Embedder(load_encoder(name, device), device, precision)


def _new_colours(job: Job, prepared: Prepared) -> ColourTable | None:
    asked = job.config.stain
    if asked is None or prepared.stain is None:
        return None
    from ..stain.table import colour_table

    return colour_table(prepared.stain, asked.target)


def _no_embeddings(pixels: NDArray[np.uint8], _: ColourTable | None) -> NDArray[np.float32]:
    return np.empty((len(pixels), 0), np.float32)


def _readable(batch: PatchBatch) -> NDArray[np.uint8]:
    """The pixels of the patches that could be read; not copied where that is all of them."""
    readable = batch.status == OK
    return batch.pixels if readable.all() else batch.pixels[readable]


def _check_readable(status: NDArray[np.uint8], budget: float) -> None:
    bad = int((status == UNREADABLE).sum())
    if bad > budget * len(status):
        raise Unreadable(
            f"{bad} of {len(status)} patches cannot be decoded.",
            "Copy the file again from its source, or raise --max-unreadable.",
        )


def _attributes(job: Job, card: EncoderCard, prepared: Prepared) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "slide_id": job.input.slide_id,
        "source": prepared.source,
        "patch": prepared.spec.to_dict(),
        "extent": list(prepared.grid.extent),
        "encoder": card.to_dict(),
        "precision": job.config.precision,
        **stain_attributes(job.config, prepared.source["kind"], prepared.stain),
        **tissue_attributes(job.config, job.input),
        "quality": prepared.quality.to_dict() if prepared.quality else None,
        "software": software(),
        "background": prepared.background,
    }


def software() -> dict[str, str]:
    """The versions that a store records: they explain a difference, and make nothing stale."""
    packages = ("slidestream", "torch", "numpy", "openslide-python", "openslide-bin")
    return {package: version(package) for package in packages}


def _timed(outcome: Outcome, start: float) -> Outcome:
    return replace(outcome, seconds=round(time.perf_counter() - start, 3))
