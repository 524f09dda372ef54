"""A run: plan, process what is to do, keep the ledger. Resumable, because every store is all or nothing."""

from __future__ import annotations

import functools
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..errors import StoreError
from ..features.card import EncoderCard
from ..features.disk import full_disk_named
from ..features.encoder import card_of
from ..features.layout import list_stores, slide_id_of, store_path
from ..features.store import open_store
from ..features.verify import Problem, verify_store
from .claims import Sharing
from .cluster import outcomes_on_dask
from .config import Execution, RunConfig, bind
from .inputs import Input
from .job import DONE, FAILED, NO_TISSUE, Job, Opener, Outcome, open_source
from .ledger import Entry, Ledger, absolute, outcome_of
from .plan import Planner, Step
from .process import process
from .qc import FILE as QUALITY
from .qc import write_quality
from .readers import feeds
from .twins import Twin, copied

WAIT_SECONDS = 1.0
"""Between two looks at slides that another run has claimed."""


class Watcher(Protocol):
    """Is told what happens; the command line draws it."""

    def planned(self, step: Step) -> None:
        """One input has been looked at."""
        ...

    def begins(self, jobs: int) -> None:
        """Planning is over and so many inputs are to do."""
        ...

    def patches(self, slide_id: str, done: int, total: int) -> None:
        """So many patches of this slide are done."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """One input has ended."""
        ...


@dataclass(frozen=True)
class Summary:
    """What a run did: the steps it planned and the outcomes of those it computed."""

    steps: list[Step]
    outcomes: list[Outcome]

    @property
    def failures(self) -> list[Outcome]:
        """Outcomes that failed."""
        return [outcome for outcome in self.outcomes if outcome.status == FAILED]


@dataclass(frozen=True)
class RunOrder:
    """What to run: inputs, configuration, folder, means.

    Attributes:
        dask: a scheduler's address, or empty.
        opener: how inputs are opened.
    """

    inputs: Sequence[Input]
    config: RunConfig
    run: Path
    execution: Execution
    dask: str = ""
    opener: Opener = open_source

    def job(self, item: Input, card: EncoderCard) -> Job:
        """What is to do for one of the inputs, for the encoder of that card."""
        return Job(item, self.config, self.run, self.execution, self.opener, card)

    def planner(self, card: EncoderCard, before: Mapping[str, Entry]) -> Planner:
        """Says which inputs are to do, given the ledger's rows."""
        return Planner(self.run, self.config, card, before, self.execution, self.opener)


def run_cohort(order: RunOrder, watcher: Watcher) -> Summary:
    """Compute what is missing or stale in the run folder, and nothing else.

    Raises:
        ContractMismatch: the folder holds another configuration.
        UsageError: the encoder does not take the spacing.
        EnvironmentProblem: disk full, no scheduler, a missing extra; finished stores stay.
    """
    card = card_of(order.config.encoder)
    with full_disk_named(order.run):
        bind(order.run, order.config, card)
    with full_disk_named(order.run), Ledger(order.run) as ledger:
        steps = []
        before = ledger.entries()
        for step in order.planner(card, before).steps(order.inputs):
            watcher.planned(step)
            steps.append(step)
            if not step.todo:
                _keep(ledger, step.input, before.get(step.input.slide_id))
        todo = {step.input.slide_id: step for step in steps if step.todo}
        watcher.begins(len(todo))
        outcomes = []
        with closing(_outcomes(list(todo.values()), order, card, watcher)) as ended:
            for outcome in ended:
                ledger.record(outcome, todo[outcome.slide_id].input)
                watcher.finished(outcome)
                outcomes.append(outcome)
        if outcomes or not (order.run / QUALITY).exists():
            write_quality(order.run)
    return Summary(steps, outcomes)


def _keep(ledger: Ledger, item: Input, entry: Entry | None) -> None:
    """Let the row of an input that is up to date say so, and where the input lies now."""
    ended = entry.outcome if entry and entry.outcome.status in (DONE, NO_TISSUE) else None
    if ended and entry and entry.input == absolute(item):
        return
    try:
        ledger.record(ended or outcome_of(open_store(store_path(ledger.run, item.slide_id))), item)
    except StoreError as error:
        ledger.mark_damaged(item.slide_id, error.cause)


def _outcomes(
    todo: Sequence[Step], order: RunOrder, card: EncoderCard, watcher: Watcher
) -> Generator[Outcome, None, None]:
    """Compute each content once, then copy it to its twins; what cannot be copied is computed too."""
    jobs = [order.job(step.input, card) for step in todo if not step.twin]
    twins = [(order.job(step.input, card), step.twin) for step in todo if step.twin]
    if order.dask:
        yield from outcomes_on_dask(jobs, order.dask)
        left = yield from _copies(twins, None)
        if left:
            yield from outcomes_on_dask(left, order.dask)
        return
    with Sharing(order.run, [*jobs, *(job for job, _ in twins)]) as sharing:
        yield from _computed(jobs, sharing, watcher)
        left = yield from _copies(twins, sharing)
        yield from _computed(left, sharing, watcher)


def _copies(
    twins: Sequence[tuple[Job, Twin]], sharing: Sharing | None
) -> Generator[Outcome, None, list[Job]]:
    """The outcomes of the jobs that a copy completes; returns the others."""
    left = []
    for job, twin in twins:
        outcome = None
        if sharing is None or sharing.take(job):
            outcome = copied(job, twin)
            if sharing:
                sharing.give_back(job)
        if outcome:
            yield outcome
        else:
            left.append(job)
    return left


def _computed(jobs: Sequence[Job], sharing: Sharing, watcher: Watcher) -> Generator[Outcome, None, None]:
    """The outcomes of jobs; those that another run has claimed are waited for."""
    left = list(jobs)
    while left:
        sharing.elsewhere.clear()
        yield from _shared(left, sharing, watcher)
        left = []
        for job in sharing.elsewhere:
            if sharing.is_done(job):
                watcher.planned(Step(job.input, todo=False, reason="done by another run meanwhile"))
            else:
                left.append(job)
        if left:
            time.sleep(WAIT_SECONDS)


def _shared(jobs: Sequence[Job], sharing: Sharing, watcher: Watcher) -> Generator[Outcome, None, None]:
    """The outcomes of the jobs that no other run is working on."""
    with feeds(jobs, sharing.take) as ahead:
        for job, feed in ahead:
            yield process(job, functools.partial(watcher.patches, job.input.slide_id), feed)
            sharing.give_back(job)


def verify_run(run: Path) -> Iterator[tuple[str, list[Problem]]]:
    """Each store's slide id and what is wrong with it; damaged ones are marked for the next run."""
    with Ledger(run) as ledger:
        # What a damaged store says of itself need not be true.
        known = {store_path(run, slide_id): slide_id for slide_id in ledger.entries()}
        for path in list_stores(run):
            slide_id = known.get(path) or slide_id_of(path)
            problems = [replace(problem, slide_id=slide_id) for problem in verify_store(path)]
            if problems:
                ledger.mark_damaged(slide_id, problems[0].what)
            yield slide_id, problems
