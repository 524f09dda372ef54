"""Why one slide is up to date or not: what its store records, against what is asked now."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreError, UsageError
from ..features.encoder import card_of
from ..features.layout import list_stores, slide_id_of, store_path
from ..features.store import open_store
from ..spec import Spec, differences
from .apart import answers
from .config import Execution, read_config
from .inputs import Input
from .job import Outcome
from .ledger import read_entries
from .looking import ask_facts
from .plan import Planner, how_to_compare, needed_attributes
from .process import software
from .twins import DEPENDS_ON

GONE = "where its file lies is not known; `slidestream plan` with it says more"


@dataclass(frozen=True)
class Part(Spec):
    """One thing that a store records.

    Attributes:
        name: "source", "patch", "encoder", "stain", "tissue", "regions", "rules" or "software".
        decides: whether a difference in it makes the slide stale.
        differences: one line per leaf, `recorded != asked`.
    """

    name: str
    decides: bool
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Explanation(Spec):
    """What is known of one slide of a run folder.

    Attributes:
        status: in the ledger, or "unknown".
        todo: whether `run` with its input would compute it; None where its file is not known.
        reason: why, or why not.
        code, cause, fix: of its failure, else empty.
        parts: what could be compared; none without a store.
    """

    slide_id: str
    status: str
    todo: bool | None
    reason: str
    code: str
    cause: str
    fix: str
    parts: tuple[Part, ...]


def explain(run: Path, slide_id: str, limits: Execution) -> Explanation:
    """Compare the store of a slide with its file, the run folder's configuration and what is installed.

    Raises:
        UsageError: the run folder knows no such slide, or says not how it was made.
        EnvironmentProblem: a missing extra.
    """
    entries = read_entries(run)
    entry = entries.get(slide_id)
    if entry is None and not store_path(run, slide_id).exists():
        raise _unknown(run, slide_id, entries)
    config = read_config(run)
    planner = Planner(run, config, card_of(config.encoder), entries, limits)
    item = entry.input if entry else None
    steps = list(planner.steps([item] if item else []))
    outcome = entry.outcome if entry else Outcome(slide_id, "unknown")
    return Explanation(
        slide_id,
        outcome.status,
        steps[0].todo if steps else None,
        steps[0].reason if steps else GONE,
        outcome.code,
        outcome.cause,
        outcome.fix,
        tuple(_parts(planner, slide_id, item)),
    )


def _unknown(run: Path, slide_id: str, entries: Iterable[str]) -> UsageError:
    known = sorted({*entries, *map(slide_id_of, list_stores(run))})
    near = difflib.get_close_matches(slide_id, known, n=1)
    fix = f"Did you mean {near[0]!r}?" if near else "`slidestream status` lists them."
    return UsageError(f"{run} knows no slide {slide_id!r}.", fix)


def _parts(planner: Planner, slide_id: str, item: Input | None) -> Iterator[Part]:
    """What the store records, part by part, against what is asked; nothing without a store."""
    try:
        recorded = open_store(store_path(planner.run, slide_id)).attributes
    except StoreError:
        return
    asked = _asked(planner, recorded, item)
    for name in (*DEPENDS_ON, "software"):
        if name in asked:
            lines = differences(recorded.get(name), asked[name])
            yield Part(name, name in DEPENDS_ON, tuple(lines))


def _asked(planner: Planner, recorded: dict[str, Any], item: Input | None) -> dict[str, Any]:
    """What a store made now would record, as far as that is known: its file may be gone."""
    stain = planner.config.stain_of(recorded["source"]["kind"])
    asked = {
        "encoder": planner.card.to_dict(),
        "stain": stain.to_dict() if stain else None,
        "software": software(),
    }
    if item is None:
        return asked
    how = how_to_compare(planner.config, recorded)
    question = ask_facts(item, planner.opener, planner.config.scaling, how)
    ((_, answer),) = answers([(item, question)], planner.limits)
    if not answer.value:
        return asked
    return asked | needed_attributes(planner.config, planner.card, answer.value, item)
