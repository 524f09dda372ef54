"""What a run would do, and why: the same code for a dry run and for the run itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..features.card import EncoderCard
from ..features.layout import store_path
from ..features.store import open_store
from ..features.verify import missing_part
from ..identity import How, how_of
from ..spec import differences
from .apart import Answer, Question, answers
from .config import Execution, RunConfig
from .inputs import Input
from .job import FAILED, Opener, open_source
from .ledger import DAMAGED, Entry
from .looking import ask_facts
from .regions import tissue_attributes
from .twins import Twin, Twins, content_of

UP_TO_DATE = "same content, same configuration, store whole"


@dataclass(frozen=True)
class Step:
    """One input of a plan: whether it is to do, why or why not, and whose store will be copied for it."""

    input: Input
    todo: bool
    reason: str
    twin: Twin | None = None


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

    def steps(self, inputs: Sequence[Input]) -> Iterator[Step]:
        """One step per input, in order."""
        damaged = {key for key, entry in self.before.items() if entry.outcome.status == DAMAGED}
        twins = Twins(self.run, inputs, damaged)
        looks = (self._look(item, item.slide_id in twins.suspects) for item in inputs)
        for look, answer in answers(looks, self.limits):
            reason = look.reason or self._stale(look, answer)
            twin = self._twin(look, answer, twins) if reason else None
            told = f"{reason}, same content as {twin.slide_id}" if twin else reason
            yield Step(look.input, bool(reason), told or UP_TO_DATE, twin)

    def _look(self, item: Input, suspect: bool) -> tuple[_Look, Question | None]:
        """What the run folder alone says of an input; where that leaves a doubt, a question to its file."""
        reason, attributes = self._in_folder(item)
        how = how_to_compare(self.config, attributes)
        question = ask_facts(item, self.opener, self.config.scaling, how)
        return _Look(item, reason, attributes), question if suspect or not reason else None

    def _twin(self, look: _Look, answer: Answer, twins: Twins) -> Twin | None:
        """An input with the same content, of which the store is there or will be."""
        if answer.value is None or look.input.slide_id not in twins.suspects:
            return None
        needed = needed_attributes(self.config, self.card, answer.value, look.input)
        return twins.twin_of(look.input.slide_id, content_of(needed))

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
        return missing_part(path) or self._over_budget(store.attributes["counts"]), store.attributes

    def _over_budget(self, counts: dict[str, int]) -> str:
        over = counts["unreadable"] > self.config.max_unreadable * sum(counts.values())
        return "more of its patches are unreadable than --max-unreadable allows now" if over else ""

    def _stale(self, look: _Look, answer: Answer) -> str:
        """What about the source or the configuration differs from what the store records, or nothing."""
        if answer.error:
            return f"its file no longer opens ({answer.error.code})"
        needed = needed_attributes(self.config, self.card, answer.value, look.input)
        needed["slide_id"] = look.input.slide_id
        if _sampled_only(look.attributes, answer.value):
            return "its content was only sampled when it was computed (--identity fast)"
        lines = differences({key: look.attributes.get(key) for key in needed}, needed)
        return f"changed: {'; '.join(lines)}" if lines else ""


@dataclass(frozen=True)
class _Look:
    """An input, why it must be computed if that is known already, and what its store records."""

    input: Input
    reason: str
    attributes: dict[str, Any]


def how_to_compare(config: RunConfig, attributes: dict[str, Any]) -> How:
    """As asked for; but a store that was made from all bytes is compared by all bytes."""
    recorded = _identity(attributes)
    return "full" if config.identity == "full" or (recorded and how_of(recorded) == "full") else "fast"


def _sampled_only(attributes: dict[str, Any], source: dict[str, Any]) -> bool:
    """Whether all bytes are to be compared, where a store knows only some."""
    return how_of(_identity(attributes)) == "fast" and how_of(source["identity"]) == "full"


def _identity(attributes: dict[str, Any]) -> str:
    return str(attributes.get("source", {}).get("identity", ""))


def needed_attributes(
    config: RunConfig, card: EncoderCard, source: dict[str, Any], item: Input
) -> dict[str, Any]:
    """All that a store's arrays depend on, as its attributes record it."""
    patch = config.volume if source["kind"] == "volume" else config.patch
    stain = config.stain_of(source["kind"])
    return {
        "source": source,
        "patch": patch.to_dict(),
        "encoder": card.to_dict(),
        "stain": stain.to_dict() if stain else None,
        **tissue_attributes(config, item),
    }
