"""What a run would do, and why: the same code for a dry run and for the run itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..features.card import EncoderCard
from ..features.layout import store_path
from ..features.store import open_store
from ..features.verify import missing_part
from ..spec import differences
from .apart import Answer, Question, answers
from .config import Execution, RunConfig
from .inputs import Input
from .job import FAILED, Opener, open_source
from .ledger import DAMAGED, Entry
from .looking import ask_facts

UP_TO_DATE = "same content, same configuration, store whole"


@dataclass(frozen=True)
class Step:
    """One input of a plan: whether it will be computed, and why or why not."""

    input: Input
    todo: bool
    reason: str


@dataclass(frozen=True)
class Planner:
    """What inputs are compared with, and how they are opened for it.

    Attributes:
        run: the run folder, which need not exist.
        config: of this run.
        card: the encoder's.
        before: the ledger's rows, by slide id.
        limits: of the processes that open inputs.
        opener: how they are opened.
    """

    run: Path
    config: RunConfig
    card: EncoderCard
    before: Mapping[str, Entry]
    limits: Execution = field(default_factory=Execution)
    opener: Opener = open_source

    def steps(self, inputs: Iterable[Input]) -> Iterator[Step]:
        """One step per input, in order."""
        for look, answer in answers(map(self._look, inputs), self.limits):
            reason = look.reason or self._stale(look, answer)
            yield Step(look.input, bool(reason), reason or UP_TO_DATE)

    def _look(self, item: Input) -> tuple[_Look, Question | None]:
        """What the run folder alone says of an input; where that leaves it open, a question to its file."""
        reason, attributes = self._in_folder(item)
        question = None if reason else ask_facts(item, self.opener, self.config.scaling)
        return _Look(item, reason, attributes), question

    def _in_folder(self, item: Input) -> tuple[str, dict[str, Any]]:
        """Why the input must be computed, or else what its store records."""
        entry = self.before.get(item.slide_id)
        path = store_path(self.run, item.slide_id)
        if not path.exists():
            failed = entry is not None and entry.outcome.status == FAILED
            return f"failed before ({entry.outcome.code}), tried again" if entry and failed else "new", {}
        if entry is not None and entry.outcome.status == DAMAGED:
            return "its store failed verification", {}
        try:
            store = open_store(path)
        except StoreError as error:
            return error.cause, {}
        return missing_part(path), store.attributes

    def _stale(self, look: _Look, answer: Answer) -> str:
        """What about the source or the configuration differs from what the store records, or nothing."""
        if answer.error:
            return f"its file no longer opens ({answer.error.code})"
        needed = needed_attributes(self.config, self.card, answer.value)
        needed["slide_id"] = look.input.slide_id
        lines = differences({key: look.attributes.get(key) for key in needed}, needed)
        return f"changed: {'; '.join(lines)}" if lines else ""


@dataclass(frozen=True)
class _Look:
    """An input, why it must be computed if that is known already, and what its store records."""

    input: Input
    reason: str
    attributes: dict[str, Any]


def needed_attributes(config: RunConfig, card: EncoderCard, source: dict[str, Any]) -> dict[str, Any]:
    """All that a store's arrays depend on, as its attributes record it."""
    patch = config.volume if source["kind"] == "volume" else config.patch
    return {"source": source, "patch": patch.to_dict(), "encoder": card.to_dict(), "stain": None}
