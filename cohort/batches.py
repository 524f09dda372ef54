"""The batch size of a run that was not told one: usual on a processor, measured on a GPU, and remembered.

Embeddings of other batches may differ in their last bit, and a resumed store must equal the uninterrupted
one: so what was measured once holds for the run folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..features.disk import replace_json
from ..spec import json_digest
from .gpus import gpu_of
from .job import Job
from .process import cached_embedder

FILE = "batch_size.json"
USUAL = 32


def settled(jobs: Sequence[Job]) -> list[Job]:
    """The jobs with a batch size; each computes on one device."""
    if not jobs or jobs[0].execution.batch_size:
        return list(jobs)
    size = min(_size_for(job) for job in jobs[0].members)
    return [with_size(job, size) for job in jobs]


def with_size(job: Job, size: int) -> Job:
    """The job and its others with that batch size."""
    others = tuple(with_size(other, size) for other in job.others)
    return replace(job, execution=replace(job.execution, batch_size=size), others=others)


def _size_for(job: Job) -> int:
    """For the encoder of a job; measured once for each kind of GPU."""
    gpu = gpu_of(job.execution.device) if job.card is None or job.card.dim else ""
    if not gpu:
        return USUAL
    import torch

    from ..features.batching import measured_batch

    path, side = job.run / FILE, job.config.patch.size_px
    facts = [job.config.encoder, job.config.precision, torch.cuda.get_device_name(gpu), side]
    known, key = _known(path), json_digest(facts)
    if key not in known:
        embedder = cached_embedder(job.config.encoder, job.execution.device, job.config.precision)
        known[key] = measured_batch(embedder, gpu, side)
        replace_json(path, known)
    return int(known[key])


def _known(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
        return known if isinstance(known, dict) else {}
    return {}
