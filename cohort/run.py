"""A run: plan, process what is to do, keep the ledger. Resumable, because every store is all or nothing."""

from __future__ import annotations

import functools
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..features.card import EncoderCard
from ..features.encoder import card_of
from ..features.layout import list_stores, slide_id_of, store_path
from ..features.verify import Problem, verify_store
from .claims import Sharing
from .cluster import outcomes_on_dask
from .config import Execution, RunConfig, bind
from .inputs import Input
from .job import FAILED, Job, Opener, Outcome, open_source
from .ledger import Entry, Ledger
from .plan import Planner, Step
from .process import process
from .readers import feeds

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
    bind(order.run, order.config, card)
    with Ledger(order.run) as ledger:
        steps = []
        for step in order.planner(card, ledger.entries()).steps(order.inputs):
            watcher.planned(step)
            steps.append(step)
        jobs = [order.job(step.input, card) for step in steps if step.todo]
        watcher.begins(len(jobs))
        inputs = {job.input.slide_id: job.input for job in jobs}
        outcomes = []
        with closing(_outcomes(jobs, order, watcher)) as ended:
            for outcome in ended:
                ledger.record(outcome, inputs[outcome.slide_id])
                watcher.finished(outcome)
                outcomes.append(outcome)
    return Summary(steps, outcomes)


def _outcomes(jobs: Sequence[Job], order: RunOrder, watcher: Watcher) -> Generator[Outcome, None, None]:
    if order.dask:
        yield from outcomes_on_dask(jobs, order.dask)
        return
    with Sharing(order.run, jobs) as sharing:
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
