"""What became of every input, as a small SQLite table: an index, never the truth, which is the stores."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import StoreError
from ..features.layout import list_stores, slide_id_of
from ..features.store import open_store
from ..table import write_table
from .job import DONE, FAILED, NO_TISSUE, Outcome
from .naming import printable

FILE = "ledger.sqlite"
FAILURES = "failures.csv"
DAMAGED = "damaged"

_COLUMNS = (
    "slide_id",
    "path",
    "status",
    "patches",
    "unreadable",
    "outside",
    "seconds",
    "code",
    "cause",
    "fix",
)
_TABLE = """
CREATE TABLE IF NOT EXISTS inputs (
    slide_id TEXT PRIMARY KEY, path TEXT, status TEXT, patches INTEGER, unreadable INTEGER, outside INTEGER,
    seconds REAL, code TEXT, cause TEXT, fix TEXT, updated TEXT)
"""


@dataclass(frozen=True)
class Entry:
    """One row: an outcome, the path it came from, and when it was written (UTC)."""

    outcome: Outcome
    path: str
    updated: str


class Ledger:
    """The table of a run folder; written by one process only. Use as a context manager."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._db = sqlite3.connect(run / FILE, timeout=60)
        self._db.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_failures()
        self._db.close()

    def record(self, outcome: Outcome, path: str) -> None:
        """Insert or replace the row of an input."""
        values = outcome.to_dict() | {"path": printable(path)}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        with self._db:
            self._db.execute(
                f"INSERT OR REPLACE INTO inputs ({', '.join(_COLUMNS)}, updated) VALUES ({marks})",  # noqa: S608
                [*(values[column] for column in _COLUMNS), now],
            )

    def mark_damaged(self, slide_id: str, cause: str) -> None:
        """Note that verification failed, so that the next run redoes this store."""
        entry = self.entries().get(slide_id)
        record = Outcome(slide_id, DAMAGED, code="STORE_CORRUPT", cause=cause, fix="Run again: it is redone.")
        self.record(record, entry.path if entry else "")

    def entries(self) -> dict[str, Entry]:
        """All rows by slide id, in the order of ids."""
        return {entry.outcome.slide_id: entry for entry in self._rows()}

    def _rows(self) -> Iterator[Entry]:
        query = f"SELECT {', '.join(_COLUMNS)}, updated FROM inputs ORDER BY slide_id"  # noqa: S608
        for row in self._db.execute(query):
            values = dict(zip(_COLUMNS, row, strict=False))
            path = values.pop("path")
            yield Entry(Outcome(**values), path, row[-1])

    def _write_failures(self) -> None:
        """failures.csv: one row per input that failed or is damaged."""
        failed = [entry for entry in self._rows() if entry.outcome.status in (FAILED, DAMAGED)]
        rows = [[e.outcome.slide_id, e.path, e.outcome.code, e.outcome.cause, e.outcome.fix] for e in failed]
        write_table(self._run / FAILURES, ["slide_id", "path", "code", "cause", "fix"], rows)


def read_entries(run: Path) -> dict[str, Entry]:
    """All rows of a run folder's ledger by slide id; none where there is no ledger yet."""
    if not (run / FILE).exists():
        return {}
    with Ledger(run) as ledger:
        return ledger.entries()


def rebuild(run: Path) -> None:
    """Make the ledger anew from the stores; what failed is known again after the next run."""
    (run / FILE).unlink(missing_ok=True)
    with Ledger(run) as ledger:
        for path in list_stores(run):
            try:
                counts = open_store(path).attributes["counts"]
            except StoreError as error:
                ledger.mark_damaged(slide_id_of(path), error.cause)
                continue
            rows = sum(counts.values())
            status = DONE if rows else NO_TISSUE
            outcome = Outcome(slide_id_of(path), status, rows, counts["unreadable"], counts["outside"])
            ledger.record(outcome, "")
