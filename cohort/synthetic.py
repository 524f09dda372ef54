"""The cohort behind `slidestream demo`: drawn slides of two grades, with the focus that decides the grade.

The slides look like haematoxylin and eosin, come from two scanners, and hold in their high-grade half a
focus of large, crowded, uneven nuclei. Nothing else tells the grades apart, and where the focus lies is
written down, so that what a head attends to can be compared with the truth.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from ..errors import UsageError
from ..spec import differences
from .synthetic_plan import MASK_SPACING, plan_slide
from .synthetic_slide import whole_or_not, write_mask, write_slide
from .synthetic_spec import CohortSpec, SlideRow, cohort_rows

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Cohort:
    """Where a synthetic cohort lies.

    Attributes:
        folder: holds `slides/<slide>.tiff`, `masks/<slide>.png`, `labels.csv` and `cohort.json`.
        spec: what it was drawn from.
        rows: one per slide, as in `labels.csv`.
    """

    folder: Path
    spec: CohortSpec
    rows: tuple[SlideRow, ...]

    @property
    def labels(self) -> Path:
        """Table of slide, patient, label ("low" or "high") and scanner ("A" or "B")."""
        return self.folder / "labels.csv"

    def slide(self, row: SlideRow) -> Path:
        """Pyramidal TIFF of one slide."""
        return self.folder / "slides" / f"{row.slide}.tiff"

    def mask(self, row: SlideRow) -> Path:
        """PNG of one slide's focus: 255 inside, 0 outside, over the whole slide.

        Its px are `spec.side_px` / its width level-0 px wide: about `MASK_SPACING` µm.
        """
        return self.folder / "masks" / f"{row.slide}.png"


def synthesise(
    out: Path, spec: CohortSpec, progress: Progress | None = None, workers: int | None = None
) -> Cohort:
    """Draw a cohort into a folder; slides that are there already are kept, so an interrupted call resumes.

    Files depend on `spec` alone, not on the number of workers or on what was drawn before. Workers are
    spawned: a script that calls this must do so under `if __name__ == "__main__":`.

    Args:
        out: folder to write to; made if missing.
        spec: of the cohort.
        progress: called with (slides done, slides in all) at the start and after each slide.
        workers: processes; as many as there are CPUs if None, and none of its own for 1.

    Raises:
        UsageError: the folder holds a cohort of another spec.
        DiskFull: no space is left; finished slides are intact.
        KeyboardInterrupt: workers finish the slide they are at and begin no other.
    """
    cohort = Cohort(out, spec, cohort_rows(spec))
    _claim(cohort)
    waiting = [
        i
        for i, row in enumerate(cohort.rows)
        if not (cohort.slide(row).exists() and cohort.mask(row).exists())
    ]
    tell = _Count(len(cohort.rows) - len(waiting), len(cohort.rows), progress)
    count = min(workers or os.cpu_count() or 1, len(waiting))
    if count > 1:
        _draw_in_parallel(cohort, waiting, count, tell)
    else:
        for index in waiting:
            draw_slide(cohort, index)
            tell.one_more()
    return cohort


def draw_slide(cohort: Cohort, index: int) -> None:
    """Plan one slide of a cohort and write its files."""
    plan = plan_slide(cohort.spec, index)
    write_mask(plan.focus, cohort.mask(plan.row))
    write_slide(plan, cohort.slide(plan.row))


class _Count:
    """Tells the caller how many slides are done."""

    def __init__(self, done: int, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = done - 1, total, progress
        self.one_more()

    def one_more(self) -> None:
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)


def _draw_in_parallel(cohort: Cohort, waiting: list[int], workers: int, tell: _Count) -> None:
    """Spawned, not forked: the caller may hold threads, locks and CUDA, which a fork would break.

    No more is submitted than can run, since a pool does not cancel what its workers have queued.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent)
    ahead = iter(waiting)
    try:
        running = {pool.submit(draw_slide, cohort, index) for index in islice(ahead, workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                tell.one_more()
                running |= {pool.submit(draw_slide, cohort, index) for index in islice(ahead, 1)}
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _claim(cohort: Cohort) -> None:
    """Make the folders, write the tables, and refuse a folder that another spec has filled."""
    record = cohort.folder / "cohort.json"
    if record.exists():
        found = json.loads(record.read_text(encoding="utf-8"))["spec"]
        if changed := differences(found, cohort.spec.to_dict()):
            raise UsageError(
                f"{cohort.folder} holds another cohort: {'; '.join(changed)}.", "Name another folder."
            )
    for name in ("slides", "masks"):
        (cohort.folder / name).mkdir(parents=True, exist_ok=True)
    facts = {"spec": cohort.spec.to_dict(), "mask_spacing_um": MASK_SPACING}
    _write_text(cohort.labels, _table(cohort.rows))
    _write_text(record, json.dumps(facts, indent=2) + "\n")


def _table(rows: tuple[SlideRow, ...]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, ["slide", "patient", "label", "scanner"], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in rows)
    return text.getvalue()


def _write_text(path: Path, text: str) -> None:
    def write(beside: Path) -> None:
        beside.write_text(text, encoding="utf-8")

    whole_or_not(path, write)
