"""Which devices there are, and which of them jobs are computed on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .child import may_have_children
from .job import Job

DEVICES = Path("/dev")


def devices_of(asked: str) -> list[str]:
    """What a run computes on: `cuda:0,cuda:1` are two, and "auto" is all GPUs where there are several."""
    if asked != "auto":
        return [name.strip() for name in asked.split(",") if name.strip()]
    if _most_gpus() < 2:
        return [asked]
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{number}" for number in range(gpus)] if gpus > 1 else [asked]


def gpu_of(asked: str) -> str:
    """The torch name of the GPU that one device is; empty for a processor.

    Raises:
        UsageError: the device is not there.
    """
    if asked == "cpu" or (asked == "auto" and not _most_gpus()):
        return ""
    from ..features.encoder import resolve_device

    found = resolve_device(asked)
    return found if found.startswith("cuda") else ""


def _most_gpus() -> int:
    """How many there may be: torch, which knows, takes seconds to load while readers could be starting."""
    if sys.platform == "linux":
        return len(list(DEVICES.glob("nvidia[0-9]*")))
    return 2 if sys.platform == "win32" else 0


def devices_for(jobs: Sequence[Job]) -> list[str]:
    """The devices that jobs are to be computed on: as many as asked for, but no more than there are jobs."""
    if not jobs:
        return []
    if not any(job.card is None or job.card.dim for job in jobs[0].members):
        return ["cpu"]
    return devices_of(jobs[0].execution.device)[: len(jobs) if may_have_children() else 1]


def on_device(job: Job, device: str) -> Job:
    """The job and its others, to be computed there."""
    others = tuple(on_device(other, device) for other in job.others)
    return replace(job, execution=replace(job.execution, device=device), others=others)
