"""The same jobs on a Dask cluster, one task per input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import EnvironmentProblem, MissingExtra
from ..features.layout import store_path
from ..features.store import open_store
from .claims import seal_of
from .job import FAILED, Job, Outcome
from .ledger import outcome_of
from .process import process

RETRIES = 2
ANSWER_SECONDS = 5.0
"""How long a scheduler may take to answer: one that has just been started is asked again until then."""


def outcomes_on_dask(jobs: Sequence[Job], address: str) -> Iterator[Outcome]:
    """Outcomes in the order they are reached.

    The workers must see the inputs and the run folder under the same paths. Each store is written by
    the worker itself; only the outcome travels. A job whose worker dies is retried elsewhere. One of
    which several have died (Dask's `distributed.scheduler.allowed-failures`) is tried once more, alone,
    after all others, and then given up.

    Raises:
        MissingExtra: distributed is not installed.
        EnvironmentProblem: no scheduler answers at the address.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtra("Dask is not installed.", "pip install 'slidestream[dask]'") from error
    try:
        client = Client(address, timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise EnvironmentProblem(
            f"No Dask scheduler answers at {address}.",
            "Start one with `dask scheduler` and check the address.",
        ) from error
    with client:
        suspects = []
        for job, outcome in _ended(client, jobs):
            if outcome:
                yield outcome
            else:
                suspects.append(job)
        for job in suspects:
            # Alone this time: a job may only have been beside the one that its workers died of.
            for _, outcome in _ended(client, [job]):
                yield outcome or _poison(job)


def _ended(client: Any, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome | None]]:
    """Each job and its outcome, as they are reached; None for a job whose workers died again and again."""
    from distributed import KilledWorker, as_completed

    futures = {client.submit(_once, job, seal_of(job), pure=False, retries=RETRIES): job for job in jobs}
    try:
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except KilledWorker:
                yield futures[future], None
    finally:
        client.cancel(list(futures))


def _once(job: Job, before: str) -> Outcome:
    """`process`, unless an earlier worker has finished the store and took the news of it to its grave.

    Args:
        before: the seal of the store when the job was given out.
    """
    place = store_path(job.run, job.input.slide_id)
    return outcome_of(open_store(place)) if seal_of(job) not in ("", before) else process(job)


def _poison(job: Job) -> Outcome:
    return Outcome(
        job.input.slide_id,
        FAILED,
        code="WORKER_DIED",
        cause="Every worker that took this input died, also when nothing else was running.",
        fix="Give the workers more memory, or look for what this file does to its decoder.",
    )
