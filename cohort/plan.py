"""What a run would do, and why: the same code for a dry run and for the run itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, StoreError
from ..features.card import EncoderCard
from ..features.layout import store_path
from ..features.store import Store, open_store
from ..features.verify import missing_part
from ..spec import differences
from .config import RunConfig
from .inputs import Input
from .job import FAILED, open_source
from .ledger import DAMAGED, Entry
from .reading import patch_spec

UP_TO_DATE = "same content, same configuration, store whole"


@dataclass(frozen=True)
class Step:
    """One input of a plan: whether it will be computed, and why or why not."""

    input: Input
    todo: bool
    reason: str


@dataclass(frozen=True)
class Planner:
    """What inputs are compared with.

    Attributes:
        run: the run folder, which need not exist.
        config: of this run.
        card: the encoder's.
        before: the ledger's rows, by slide id.
    """

    run: Path
    config: RunConfig
    card: EncoderCard
    before: Mapping[str, Entry]

    def steps(self, inputs: Iterable[Input]) -> Iterator[Step]:
        """One step per input, in order."""
        for item in inputs:
            reason = self._reason(item)
            yield Step(item, bool(reason), reason or UP_TO_DATE)

    def _reason(self, item: Input) -> str:
        """Why the input must be computed, or nothing."""
        entry = self.before.get(item.slide_id)
        path = store_path(self.run, item.slide_id)
        if not path.exists():
            failed = entry is not None and entry.outcome.status == FAILED
            return f"failed before ({entry.outcome.code}), tried again" if entry and failed else "new"
        if entry is not None and entry.outcome.status == DAMAGED:
            return "its store failed verification"
        try:
            store = open_store(path)
        except StoreError as error:
            return error.cause
        return missing_part(path) or self._stale(item, store)

    def _stale(self, item: Input, store: Store) -> str:
        """What about the source or the configuration differs from the store's, or nothing."""
        try:
            with open_source(item, self.config.scaling) as source:
                needed = self._attributes(source.describe(), patch_spec(self.config, source).to_dict())
        except InputError as error:
            return f"its file no longer opens ({error.code})"
        lines = differences({key: store.attributes.get(key) for key in needed}, needed)
        return f"changed: {'; '.join(lines)}" if lines else ""

    def _attributes(self, source: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
        return {"source": source, "patch": patch, "encoder": self.card.to_dict(), "stain": None}
