"""The encoding half of a job: patches in, one store out; the same function here and on a cluster."""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from importlib.metadata import version
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
from .reading import Feed, Prepared, read_here, resume_of, stain_attributes
from .regions import tissue_attributes

if TYPE_CHECKING:
    from ..features.device import Given
    from ..features.embedder import Embedder
    from ..stain.table import ColourTable

__all__ = ["FAILED", "Job", "OnPatches", "Outcome", "open_source", "process"]

OnPatches = Callable[[int, int], None]
"""Called with the patches done so far and the patches in all."""


def process(job: Job, on_patches: OnPatches | None = None) -> Outcome:
    """Read, encode and store one input, within this process.

    Raises:
        EnvironmentProblem: nothing about the input: no disk space, no GPU, a missing extra.
    """
    return process_all(job, on_patches)[0]


def process_all(
    job: Job, on_patches: OnPatches | None = None, feed: AbstractContextManager[Feed] | None = None
) -> list[Outcome]:
    """Read one input, and encode and store it by every encoder; the outcomes of `job.members`.

    Whatever is wrong with the input ends in failed outcomes. What is wrong for one encoder alone costs
    its outcome and no other.

    Args:
        feed: the job's patches; by default they are read within this process.

    Raises:
        EnvironmentProblem: nothing about the input: no disk space, no GPU, a missing extra.
    """
    start = time.perf_counter()
    shares = [Share(each) for each in job.members]
    try:
        with feed or read_here(job) as fed:
            encode(shares, fed, on_patches or _silent)
    except EnvironmentProblem:
        raise
    except Exception as error:  # noqa: BLE001 - one bad slide costs one slide, whatever it does to a decoder
        for share in shares:
            share.fail(error)
    return [_timed(share.outcome, start) for share in shares]


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


class Share:
    """What one encoder makes of an input: a store, or a failure."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.card = card_of(job.config.encoder)
        self.embedder = _embedder(job) if self.card.dim else NoEmbeddings()
        self.outcome: Outcome | None = None
        self._writing: Generator[None, PatchBatch | None, Outcome] | None = None

    def begin(self, prepared: Prepared) -> None:
        """Take over what a killed run left, and be ready for the first batch."""
        self._writing = _written(self, prepared)
        self.take(None)

    def take(self, batch: PatchBatch | None) -> None:
        """The next batch; None after the last one. A failure ends this share, and only it."""
        if self.outcome or not self._writing:
            return
        try:
            self._writing.send(batch)
        except StopIteration as ended:
            self.outcome = ended.value
        except EnvironmentProblem:
            raise
        except Exception as error:  # noqa: BLE001 - the other encoders go on
            self.fail(error)

    def stop(self, error: BaseException) -> None:
        """Leave the store as that error wants it: gone, or to be gone on with."""
        if self._writing:
            with suppress(BaseException):
                self._writing.throw(error)

    def fail(self, error: Exception) -> None:
        """The outcome, if there is none yet."""
        why = coded(error)
        failed = Outcome(self.job.input.slide_id, FAILED, code=why.code, cause=why.cause, fix=why.fix)
        self.outcome = self.outcome or failed


def encode(shares: Sequence[Share], fed: Feed, on_patches: OnPatches) -> None:
    """Give every batch to every encoder; ends early when all of them have failed."""
    try:
        for share in shares:
            share.begin(fed.prepared)
        row = fed.prepared.first
        for batch in fed.batches:
            for share in shares:
                share.take(batch)
            if all(share.outcome for share in shares):
                return
            row += len(batch.status)
            on_patches(row, len(fed.prepared.grid))
        for share in shares:
            share.take(None)
    except BaseException as error:
        for share in shares:
            share.stop(error)
        raise


def _written(share: Share, prepared: Prepared) -> Generator[None, PatchBatch | None, Outcome]:
    """Takes batches, and None after the last; writes the store of one encoder and returns how it ended."""
    job, place = share.job, store_path(share.job.run, share.job.input.slide_id)
    with StoreWriter(place, prepared.fixed, share.card.dim, resume_of(job, prepared)) as writer:
        colours = _new_colours(job, prepared) if share.card.dim else None
        row, left = prepared.first, writer.rows_done
        begun: deque[tuple[NDArray[np.uint8], Given]] = deque()
        while (batch := (yield)) is not None:
            row += len(batch.status)
            if row <= left:  # read again for another encoder
                continue
            begun.append((batch.status, share.embedder.begin(_readable(batch), colours)))
            _append(writer, begun, share.embedder.ahead)
        _append(writer, begun, 0)
        status = writer.status_so_far()
        _check_readable(status, job.config.max_unreadable)
        with uninterrupted():
            writer.commit(_attributes(job, share.card, prepared))
    return stored(job.input.slide_id, status, prepared.grid.origins)


def _append(writer: StoreWriter, begun: deque[tuple[NDArray[np.uint8], Given]], ahead: int) -> None:
    """Write the batches that were begun, the oldest first; so many may go on being computed."""
    while len(begun) > ahead:
        status, given = begun.popleft()
        embedded = given()
        with uninterrupted():
            writer.append(status, embedded)


def _embedder(job: Job) -> Embedder:
    return cached_embedder(job.config.encoder, job.execution.device, job.config.precision)


@functools.lru_cache(maxsize=16)
def cached_embedder(name: str, device: str, precision: str = "fp32") -> Embedder:
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


class NoEmbeddings:
    """In the place of an embedder, for encoders that only have patches read."""

    ahead = 0

    def begin(self, pixels: NDArray[np.uint8], _: ColourTable | None) -> Given:
        rows = len(pixels)
        return lambda: np.empty((rows, 0), np.float32)


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


def _timed(outcome: Outcome | None, start: float) -> Outcome:
    if outcome is None:
        raise RuntimeError("an encoder neither finished nor failed")
    return replace(outcome, seconds=round(time.perf_counter() - start, 3))
