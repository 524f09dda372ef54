"""What a run shows while it works: a live bar on a terminal, one line per slide elsewhere."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..cohort.job import FAILED, NO_TISSUE, Outcome
from ..cohort.plan import Step
from ..text import visible

if TYPE_CHECKING:
    from ..mil.fit import EpochReport


class RunProgress:
    """Draws on stderr: slides done, patches per second, time left, failures so far."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._slides = self._bar.add_task("slides", total=None, rate="")
        self._current = self._bar.add_task("patches", total=None, rate="", visible=False)
        self._jobs = self._ended = self._failed = self._patches = 0
        self._before: dict[str, int] = {}
        self._start = time.perf_counter()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def patches_per_second(self) -> float:
        """Since the first slide began."""
        return self._patches / max(1e-9, time.perf_counter() - self._start)

    def planned(self, step: Step) -> None:
        """Say why an input is left alone or redone."""
        if not step.todo:
            self._line(f"{step.input.slide_id}: up to date ({step.reason})")
        elif step.reason != "new":
            self._line(f"{step.input.slide_id}: to do ({step.reason})")

    def begins(self, jobs: int) -> None:
        """Start the clock."""
        self._jobs = jobs
        self._start = time.perf_counter()
        self._bar.update(self._slides, total=jobs)

    def patches(self, slide_id: str, done: int, total: int) -> None:
        """Move the bars."""
        self._patches += done - self._before.get(slide_id, 0)
        self._before[slide_id] = done
        rate = f"{self.patches_per_second:.0f} patches/s, {self._failed} failed"
        self._bar.update(
            self._current,
            description=visible(slide_id[:32]),
            completed=done,
            total=total,
            visible=True,
            rate="",
        )
        self._bar.update(self._slides, completed=self._ended + done / total, rate=rate)

    def finished(self, outcome: Outcome) -> None:
        """Say how an input ended."""
        self._ended += 1
        self._failed += outcome.status == FAILED
        self._before.pop(outcome.slide_id, None)
        self._bar.update(self._slides, completed=self._ended)
        self._line(f"[{self._ended}/{self._jobs}] {outcome.slide_id}: {_ending(outcome)}")

    def _line(self, text: str) -> None:
        self._console.print(Text(visible(text)), soft_wrap=True)


def _ending(outcome: Outcome) -> str:
    if outcome.status == FAILED:
        return f"failed, {outcome.code}: {outcome.cause}"
    if outcome.same_as:
        return f"same content as {outcome.same_as}, copied from it"
    if outcome.status == NO_TISSUE:
        return "NO_TISSUE: no patch has enough tissue; thumbnail and mask are kept"
    lost = [
        f"{getattr(outcome, name)} {name}"
        for name in ("unreadable", "outside", "excluded")
        if getattr(outcome, name)
    ]
    return ", ".join([f"{outcome.patches} patches", *lost, f"{outcome.seconds:.1f} s"])


class TrainProgress:
    """Says which folds are being trained, and on a terminal which epoch of the one that reported last."""

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("training")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def __call__(self, report: EpochReport) -> None:
        """One epoch has ended."""
        fold = f"training fold {report.fold + 1} of {report.folds}"
        if self._console.is_terminal:
            loss = report.train_loss if math.isnan(report.validation_loss) else report.validation_loss
            self._status.update(f"{fold}, epoch {report.epoch + 1}, loss {loss:.3f}")
        elif report.fold not in self._begun:
            self._console.print(Text(fold), soft_wrap=True)
        self._begun.add(report.fold)
