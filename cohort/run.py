"""A run: plan, process what is to do, keep the ledger. Resumable, because every store is all or nothing."""

from __future__ import annotations

import functools
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..errors import StoreError, UsageError
from ..features.card import EncoderCard
from ..features.disk import full_disk_named
from ..features.encoder import card_of
from ..features.layout import list_stores, slide_id_of, store_path
from ..features.store import open_store
from ..features.verify import Problem, verify_store
from ..spec import differences
from .batches import USUAL, settled, with_size
from .claims import Together
from .cluster import outcomes_on_dask
from .config import Execution, RunConfig, bind
from .devices import on_devices
from .gpus import devices_for, devices_of, on_device
from .inputs import Input
from .job import DONE, FAILED, NO_TISSUE, Job, Opener, Outcome, grouped, open_source
from .ledger import Entry, Ledger, absolute, outcome_of
from .plan import Planner, Step
from .process import process_all
from .qc import FILE as QUALITY
from .qc import write_quality
from .readers import feeds
from .twins import Twin, copied

Ended = tuple[Job, Outcome]

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
    return run_together([order], watcher)[0]


def run_together(orders: Sequence[RunOrder], watcher: Watcher) -> list[Summary]:
    """The same inputs for several encoders, each with a run folder of its own; pixels are read once.

    Raises:
        UsageError: the encoders take different patches, or Dask is asked to do several; or as `run_cohort`.
    """
    require_same_patches(orders)
    with ExitStack() as stack:
        folders = [Folder(order, card_of(order.config.encoder)) for order in orders]
        for folder in folders:
            stack.enter_context(full_disk_named(folder.order.run))
            bind(folder.order.run, folder.order.config, folder.card)
        for folder in folders:
            folder.plan(stack.enter_context(Ledger(folder.order.run)), watcher)
        watcher.begins(sum(len(folder.todo) for folder in folders))
        with closing(_outcomes(folders, watcher)) as ended:
            for job, outcome in ended:
                next(folder for folder in folders if folder.order.run == job.run).record(outcome)
                watcher.finished(outcome)
        for folder in folders:
            if folder.outcomes or not (folder.order.run / QUALITY).exists():
                write_quality(folder.order.run)
    return [Summary(folder.steps, folder.outcomes) for folder in folders]


def require_same_patches(orders: Sequence[RunOrder]) -> None:
    """Pixels that are read once must be what every encoder takes.

    Raises:
        UsageError: they are not; or several encoders are asked of Dask.
    """
    first = orders[0].config
    for other in (order.config for order in orders[1:]):
        lines = differences(first.patch.to_dict(), other.patch.to_dict())
        if lines:
            raise UsageError(
                f"{first.encoder} and {other.encoder} take other patches: {'; '.join(lines)}.",
                "Run the encoders one by one, or choose an --mpp and a --patch-size that all of them take.",
            )
        if other.stain != first.stain:
            raise UsageError(
                f"{first.encoder} and {other.encoder} take patches in other stains.",
                "Run the encoders one by one, or name a --stain for all of them, perhaps none.",
            )
    if len(orders) > 1 and orders[0].dask:
        raise UsageError("On Dask each encoder is a run of its own.", "Give one --encoder at a time.")
    if orders[0].dask and len(devices_of(orders[0].execution.device)) > 1:
        raise UsageError("On Dask a worker has one device.", "Start a worker for each GPU, and name cuda.")


class Folder:
    """One run folder of a pass: what is planned for it, and what became of that.

    Attributes:
        order: what is asked of it.
        card: of its encoder.
        steps: one per input, once planned.
        outcomes: of those that have ended.
    """

    def __init__(self, order: RunOrder, card: EncoderCard) -> None:
        self.order = order
        self.card = card
        self.steps: list[Step] = []
        self.outcomes: list[Outcome] = []

    def plan(self, ledger: Ledger, watcher: Watcher) -> None:
        """Say which inputs are to do; the rows of the others say that they are up to date."""
        self._ledger = ledger
        before = ledger.entries()
        for step in self.order.planner(self.card, before).steps(self.order.inputs):
            watcher.planned(step)
            self.steps.append(step)
            if not step.todo:
                _keep(ledger, step.input, before.get(step.input.slide_id))
        self.todo = {step.input.slide_id: step for step in self.steps if step.todo}

    def jobs(self) -> list[Job]:
        """What is to be computed."""
        return [self.order.job(step.input, self.card) for step in self.todo.values() if not step.twin]

    def twins(self) -> list[tuple[Job, Twin]]:
        """What is to be copied."""
        todo = self.todo.values()
        return [(self.order.job(step.input, self.card), step.twin) for step in todo if step.twin]

    def record(self, outcome: Outcome) -> None:
        """Note how an input ended."""
        self._ledger.record(outcome, self.todo[outcome.slide_id].input)
        self.outcomes.append(outcome)


def _keep(ledger: Ledger, item: Input, entry: Entry | None) -> None:
    """Let the row of an input that is up to date say so, and where the input lies now."""
    ended = entry.outcome if entry and entry.outcome.status in (DONE, NO_TISSUE) else None
    if ended and entry and entry.input == absolute(item):
        return
    try:
        ledger.record(ended or outcome_of(open_store(store_path(ledger.run, item.slide_id))), item)
    except StoreError as error:
        ledger.mark_damaged(item.slide_id, error.cause)


def _outcomes(folders: Sequence[Folder], watcher: Watcher) -> Generator[Ended, None, None]:
    """Compute each content once, then copy it to its twins; what cannot be copied is computed too."""
    jobs = [job for folder in folders for job in folder.jobs()]
    twins = [pair for folder in folders for pair in folder.twins()]
    dask = folders[0].order.dask
    if dask:
        yield from _on_dask(jobs, dask)
        left = yield from _copies(twins, None)
        if left:
            yield from _on_dask(left, dask)
        return
    with Together([*jobs, *(job for job, _ in twins)]) as sharing:
        yield from _computed(grouped(jobs), sharing, watcher)
        left = yield from _copies(twins, sharing)
        yield from _computed(grouped(left), sharing, watcher)


def _on_dask(jobs: Sequence[Job], address: str) -> Iterator[Ended]:
    jobs = [with_size(job, job.execution.batch_size or USUAL) for job in jobs]
    by_slide = {job.input.slide_id: job for job in jobs}
    return ((by_slide[outcome.slide_id], outcome) for outcome in outcomes_on_dask(jobs, address))


def _copies(twins: Sequence[tuple[Job, Twin]], sharing: Together | None) -> Generator[Ended, None, list[Job]]:
    """The outcomes of the jobs that a copy completes; returns the others."""
    left = []
    for job, twin in twins:
        outcome = None
        if sharing is None or sharing.take(job):
            outcome = copied(job, twin)
            if sharing:
                sharing.give_back(job)
        if outcome:
            yield job, outcome
        else:
            left.append(job)
    return left


def _computed(jobs: Sequence[Job], sharing: Together, watcher: Watcher) -> Generator[Ended, None, None]:
    """The outcomes of jobs; those that another run has claimed are waited for."""
    left = list(jobs)
    while left:
        sharing.elsewhere.clear()
        yield from _shared(left, sharing, watcher)
        left = []
        for job in [member for group in sharing.elsewhere for member in group.members]:
            if sharing.is_done(job):
                watcher.planned(Step(job.input, todo=False, reason="done by another run meanwhile"))
            else:
                left.append(replace(job, others=()))
        left = grouped(left)
        if left:
            time.sleep(WAIT_SECONDS)


def _shared(jobs: Sequence[Job], sharing: Together, watcher: Watcher) -> Generator[Ended, None, None]:
    """The outcomes of the jobs that no other run is working on."""
    devices = devices_for(jobs)
    if len(devices) > 1:
        for job, outcomes in on_devices(jobs, devices, sharing.take, watcher.patches):
            yield from zip(job.members, outcomes, strict=True)
            sharing.give_back(job)
        return
    here = settled([on_device(job, devices[0]) for job in jobs])
    with feeds(here, sharing.take) as ahead:
        for job, feed in ahead:
            on_patches = functools.partial(watcher.patches, job.input.slide_id)
            yield from zip(job.members, process_all(job, on_patches, feed), strict=True)
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
