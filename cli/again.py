"""`explain` and `retry`: what became of a slide and why, and another chance for what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    BatchSize,
    Dask,
    Devices,
    Json,
    ReaderMemory,
    Readers,
    RunFolder,
    Timeout,
    Workers,
)
from .output import note, say, show_json, show_table

if TYPE_CHECKING:
    from ..cohort.explain import Explanation


def explain(
    run: RunFolder,
    slide: Annotated[str, typer.Argument(metavar="SLIDE", help="A slide_id, as `status` lists them.")],
    timeout: Timeout = None,
    reader_memory: ReaderMemory = None,
    json: Json = False,
) -> None:
    """Say why a slide is up to date or not: what its store records, and what is asked now."""
    from ..cohort.config import Execution
    from ..cohort.explain import explain as explained

    found = explained(run, slide, Execution.given(timeout=timeout, memory_gb=reader_memory))
    if json:
        show_json({"run": str(run), **found.to_dict()})
    else:
        _show(found)


def _show(found: Explanation) -> None:
    verdict = {True: "to do: ", False: "up to date: ", None: ""}[found.todo]
    say(f"{found.slide_id}: {found.status.replace('_', ' ')}; {verdict}{found.reason}")
    if found.code:
        say(f"  {found.code}: {found.cause}")
        say(f"  Fix: {found.fix}")
    if found.parts:
        show_table(
            "what the store records != what is asked now",
            ("", "", "makes it stale"),
            [
                (part.name, line, "yes" if part.decides and part.differences else "no")
                for part in found.parts
                for line in part.differences or ("the same",)
            ],
        )


def retry(
    run: RunFolder,
    workers: Workers = None,
    readers: Readers = None,
    timeout: Timeout = None,
    reader_memory: ReaderMemory = None,
    batch_size: BatchSize = None,
    device: Devices = "auto",
    dask: Dask = "",
    json: Json = False,
) -> None:
    """Try again what failed or is damaged in a run folder, and nothing else."""
    from ..cohort.config import Execution, read_config
    from ..cohort.ledger import to_retry
    from ..cohort.run import RunOrder
    from .running import execute

    config = read_config(run)
    inputs, lost = to_retry(run)
    if lost:
        note(f"Where {lost[0]} lies is not known ({len(lost)} such): name its file to `slidestream run`.")
    execution = Execution.given(
        workers=workers,
        batch_size=batch_size or 0,
        device=device,
        readers=readers,
        timeout=timeout,
        memory_gb=reader_memory,
    )
    execute([RunOrder(inputs, config, run, execution, dask)], json)
