"""The same jobs on a Dask cluster, one task per input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import EnvironmentProblem, MissingExtra
from .job import FAILED, Job, Outcome
from .process import process

RETRIES = 2


def outcomes_on_dask(jobs: Sequence[Job], address: str) -> Iterator[Outcome]:
    """Outcomes in the order they are reached.

    The workers must see the inputs and the run folder under the same paths. Each store is written by
    the worker itself; only the outcome travels. A job whose worker dies is retried elsewhere.

    Raises:
        MissingExtra: distributed is not installed.
        EnvironmentProblem: no scheduler answers at the address.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise MissingExtra("Dask is not installed.", "pip install 'slidestream[dask]'") from error
    try:
        client = Client(address, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise EnvironmentProblem(
            f"No Dask scheduler answers at {address}.",
            "Start one with `dask scheduler` and check the address.",
        ) from error
    with client:
        futures = {client.submit(process, job, pure=False, retries=RETRIES): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield _outcome(future, futures[future])
        finally:
            client.cancel(list(futures))


def _outcome(future: Any, job: Job) -> Outcome:
    from distributed import KilledWorker

    try:
        outcome: Outcome = future.result()
    except KilledWorker:
        return Outcome(
            job.input.slide_id,
            FAILED,
            code="WORKER_DIED",
            cause="Every worker that took this input died.",
            fix="Give the workers more memory, or look for what this file does to its decoder.",
        )
    return outcome
