"""What became of every input, as a small SQLite table: an index, never the truth, which is the stores."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import DiskFull, StoreError
from ..features.layout import list_stores, slide_id_of
from ..features.store import Store, open_store
from ..table import write_table
from ..text import printable
from .inputs import Input
from .job import FAILED, Outcome, stored

FILE = "ledger.sqlite"
FAILURES = "failures.csv"
DAMAGED = "damaged"

_VERSION = 3
_TABLE = """
CREATE TABLE IF NOT EXISTS inputs (
    slide_id TEXT PRIMARY KEY, path BLOB, kind TEXT, mpp REAL, status TEXT, patches INTEGER,
    unreadable INTEGER, outside INTEGER, excluded INTEGER, seconds REAL, code TEXT, cause TEXT, fix TEXT,
    quarantine TEXT, same_as TEXT, updated TEXT)
"""
_OF_INPUT = ("path", "kind", "mpp")
_OF_OUTCOME = tuple(field.name for field in fields(Outcome))
_COLUMNS = (*_OF_INPUT, *_OF_OUTCOME, "updated")


@dataclass(frozen=True)
class Entry:
    """One row: an outcome, the input it is of, and when it was written (UTC).

    The input is None where only the store is known.
    """

    outcome: Outcome
    input: Input | None
    updated: str

    @property
    def path(self) -> str:
        """Where the input lay, fit to be shown; empty where that is not known."""
        return printable(self.input.path) if self.input else ""


def absolute(item: Input) -> Input:
    """The input, to be found from any folder."""
    return replace(item, path=str(Path(item.path).absolute()))


class Ledger:
    """The table of a run folder; written by one process only. Use as a context manager.

    Attributes:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._db = sqlite3.connect(run / FILE, timeout=60)
        with full_disk_named(run), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            if self._db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                self._db.execute("DROP TABLE IF EXISTS inputs")
                self._db.execute(f"PRAGMA user_version = {_VERSION}")
            self._db.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_failures()
        self._db.close()

    def record(self, outcome: Outcome, item: Input | None) -> None:
        """Insert or replace the row of an input."""
        item = absolute(item) if item else None
        # The bytes of a path need not be text.
        known = [os.fsencode(item.path), item.kind, item.mpp] if item else [None] * 3
        values = outcome.to_dict() | {"quarantine": json.dumps(outcome.quarantine)}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        marks = ", ".join("?" * len(_COLUMNS))
        with full_disk_named(self.run), self._db:
            self._db.execute(
                f"INSERT OR REPLACE INTO inputs ({', '.join(_COLUMNS)}) VALUES ({marks})",  # noqa: S608
                [*known, *(values[column] for column in _OF_OUTCOME), now],
            )

    def mark_damaged(self, slide_id: str, cause: str) -> None:
        """Note that verification failed, so that the next run redoes this store."""
        entry = self.entries().get(slide_id)
        record = Outcome(slide_id, DAMAGED, code="STORE_CORRUPT", cause=cause, fix="Run again: it is redone.")
        self.record(record, entry.input if entry else None)

    def entries(self) -> dict[str, Entry]:
        """All rows by slide id, in the order of ids."""
        return {entry.outcome.slide_id: entry for entry in self._rows()}

    def _rows(self) -> Iterator[Entry]:
        query = f"SELECT {', '.join(_COLUMNS)} FROM inputs ORDER BY slide_id"  # noqa: S608
        for row in self._db.execute(query):
            values = dict(zip(_COLUMNS, row, strict=True))
            path, kind, mpp, updated = (values.pop(column) for column in (*_OF_INPUT, "updated"))
            values["quarantine"] = json.loads(values["quarantine"])
            item = Input(values["slide_id"], os.fsdecode(path), kind, mpp) if path else None
            yield Entry(Outcome.from_dict(values), item, updated)

    def _write_failures(self) -> None:
        """failures.csv: one row per input that failed or is damaged."""
        failed = [entry for entry in self._rows() if entry.outcome.status in (FAILED, DAMAGED)]
        rows = [[e.outcome.slide_id, e.path, e.outcome.code, e.outcome.cause, e.outcome.fix] for e in failed]
        write_table(self.run / FAILURES, ["slide_id", "path", "code", "cause", "fix"], rows)


def read_entries(run: Path) -> dict[str, Entry]:
    """All rows of a run folder's ledger by slide id; none where there is no ledger yet."""
    if not (run / FILE).exists():
        return {}
    with Ledger(run) as ledger:
        return ledger.entries()


def outcome_of(store: Store) -> Outcome:
    """How an input ended, by its store.

    Raises:
        StoreCorrupt: it is damaged.
    """
    return stored(slide_id_of(store.path), store.status(), store.coords())


def to_retry(run: Path) -> tuple[list[Input], list[str]]:
    """The inputs that failed or whose store is damaged, and the ids of those whose file is not known."""
    failed = [e for e in read_entries(run).values() if e.outcome.status in (FAILED, DAMAGED)]
    inputs = [entry.input for entry in failed if entry.input]
    return inputs, [entry.outcome.slide_id for entry in failed if entry.input is None]


def rebuild(run: Path) -> None:
    """Make the ledger anew from the stores; what failed is known again after the next run."""
    (run / FILE).unlink(missing_ok=True)
    with Ledger(run) as ledger:
        for path in list_stores(run):
            try:
                found = outcome_of(open_store(path))
            except StoreError as error:
                ledger.mark_damaged(slide_id_of(path), error.cause)
                continue
            ledger.record(found, None)


@contextmanager
def full_disk_named(run: Path) -> Iterator[None]:
    """Turns SQLite's way of saying that there is no space left into an error that stops a run cleanly.

    Raises:
        DiskFull: nothing more can be written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise
        raise DiskFull(
            f"No space is left to note in {run.name} what has been done.",
            "Free some space and run the same command again: finished slides are intact.",
        ) from error
