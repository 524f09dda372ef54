"""The quality of every slide of a run folder as one table, from what the stores record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..features.layout import list_stores
from ..features.store import Store, open_store
from ..table import write_table

FILE = "quality.csv"


def quality_row(store: Store) -> dict[str, Any]:
    """A slide as a whole, and its patches counted by what became of them; a volume has only the counts."""
    attributes = store.attributes
    measured = attributes.get("quality") or {}
    return {"slide_id": store.slide_id, **measured, **attributes["counts"]}


def write_quality(run: Path) -> None:
    """Write quality.csv: one row per slide that has a store."""
    write_rows(run / FILE, list(_rows(run)))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as a CSV of all columns that any of them has."""
    columns = list(dict.fromkeys(key for row in sorted(rows, key=len, reverse=True) for key in row))
    write_table(path, columns or ["slide_id"], [[row.get(key, "") for key in columns] for row in rows])


def _rows(run: Path) -> Iterator[dict[str, Any]]:
    for path in list_stores(run):
        try:
            yield quality_row(open_store(path))
        except StoreError:
            continue  # `verify` and the ledger say so; it is redone by the next run
