"""Commands that look at what there is: `info`, `status`, `verify`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SlidestreamError, UsageError
from .options import Inputs, Json, ReaderMemory, RunFolder, SlideMpp, Timeout
from .output import say, show_failures, show_json, show_table

if TYPE_CHECKING:
    from ..cohort.apart import Question
    from ..cohort.config import Execution
    from ..cohort.inputs import Input


def info(
    inputs: Inputs,
    slide_mpp: SlideMpp = None,
    phi: Annotated[
        bool, typer.Option("--phi", help="Say which kinds of identifying data a file holds, never the data.")
    ] = False,
    timeout: Timeout = None,
    reader_memory: ReaderMemory = None,
    json: Json = False,
) -> None:
    """Show what each slide or volume is: format, size, levels, microns; or why it cannot be used."""
    from ..cohort.config import Execution
    from ..cohort.inputs import find_inputs

    found = find_inputs(inputs, slide_mpp).inputs
    limits = Execution.given(timeout=timeout, memory_gb=reader_memory)
    facts = list(_facts(found, phi, limits))
    if json:
        show_json({"inputs": facts})
    else:
        for fact in facts:
            _show_facts(fact)
    if any("code" in fact for fact in facts):
        raise typer.Exit(3)


def _facts(items: Sequence[Input], phi: bool, limits: Execution) -> Iterator[dict[str, Any]]:
    """What each input is, asked in processes of their own: opening it may end them."""
    from ..cohort.apart import answers
    from ..text import printable

    asked = ((item, question) for item in items for question in _questions(item, phi))
    for item, told in groupby(answers(asked, limits), key=itemgetter(0)):
        facts: dict[str, Any] = {"slide_id": item.slide_id, "path": printable(item.path)}
        for _, answer in told:
            facts |= _failure(answer.error) if answer.error else answer.value
        yield facts


def _questions(item: Input, phi: bool) -> Iterator[Question]:
    from ..cohort.job import open_source
    from ..cohort.looking import ask_facts, ask_identifying

    yield ask_facts(item, open_source)
    if phi:
        yield ask_identifying(item)


def _failure(error: SlidestreamError) -> dict[str, str]:
    return {"code": error.code, "cause": error.cause, "fix": error.fix}


def _show_facts(fact: dict[str, Any]) -> None:
    say(fact["slide_id"])
    for key, value in fact.items():
        if key not in ("slide_id", "affine"):
            shown = " x ".join(f"{v:g}" for v in value) if key in ("size", "spacing") else value
            shown = ", ".join(value) or "none found" if key == "identifying" else shown
            say(f"  {key:<16}{shown}{' µm' if key == 'spacing' else ''}")


def status(
    run: RunFolder,
    rebuild_ledger: Annotated[
        bool, typer.Option("--rebuild", help="Make the ledger anew from the stores.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is done, failed or damaged in a run folder."""
    from ..cohort.ledger import read_entries, rebuild

    _require_run(run)
    if rebuild_ledger:
        rebuild(run)
    entries = list(read_entries(run).values())
    counts = Counter(entry.outcome.status for entry in entries)
    if json:
        rows = [e.outcome.to_dict() | {"path": e.path, "updated": e.updated} for e in entries]
        show_json({"run": str(run), "counts": dict(counts), "inputs": rows})
        return
    show_table(
        f"{run}: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.items())),
        ("slide", "status", "patches", "unreadable", "outside", "excluded", "seconds"),
        [
            (
                o.slide_id,
                o.status.replace("_", " "),
                o.patches,
                o.unreadable,
                o.outside,
                o.excluded,
                f"{o.seconds:.1f}",
            )
            for o in (entry.outcome for entry in entries)
        ],
    )
    show_failures([entry.outcome for entry in entries if entry.outcome.code])


def verify(run: RunFolder, json: Json = False) -> None:
    """Read every byte of every store and say what is not as it was written."""
    from ..cohort.run import verify_run

    _require_run(run)
    checked = list(verify_run(run))
    problems = [problem for _, found in checked for problem in found]
    if json:
        rows = [{"slide_id": p.slide_id, "array": p.array, "what": p.what} for p in problems]
        show_json({"run": str(run), "stores": len(checked), "problems": rows})
    else:
        say(f"{run}: {len(checked)} stores, {len({p.slide_id for p in problems})} damaged.")
        if problems:
            rows_shown = [(p.slide_id, p.array, p.what) for p in problems]
            show_table(
                "Run the same `slidestream run` again to redo them", ("slide", "array", "what"), rows_shown
            )
    if problems:
        raise typer.Exit(4)


def _require_run(run: Path) -> None:
    from ..features.layout import list_stores

    if not (run / "slidestream.yaml").exists() and not list_stores(run):
        raise UsageError(f"{run} is not a run folder.", "Make one with `slidestream run INPUT -o RUN`.")
