"""How things are shown: results on stdout, everything else on stderr, JSON as one document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..text import visible

WIDTH_OFF_TERMINAL = 120


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # Off a terminal rich would fold everything at 80 columns.
    return Console(stderr=stderr, width=None if stream.isatty() else WIDTH_OFF_TERMINAL, highlight=False)


def say(line: str) -> None:
    """A result line, on stdout."""
    _console(stderr=False).print(Text(visible(line)), soft_wrap=True)


def note(line: str) -> None:
    """A line about what is going on, on stderr."""
    _console(stderr=True).print(Text(visible(line)), soft_wrap=True)


def show_json(document: Any) -> None:
    """The one JSON document of a command, on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on stdout; cells are shown as they are, never read as markup."""
    table = Table(show_lines=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(cell))) for cell in row))
    say(title)  # not the table's own, which would be folded at its width
    _console(stderr=False).print(table)


def show_failures(failures: Sequence[Any]) -> None:
    """The failures table: slide, code, cause and fix of everything that has these attributes."""
    if failures:
        rows = [(f.slide_id, f.code, f.cause, f.fix) for f in failures]
        show_table(f"{len(rows)} failed", ("slide", "code", "cause", "fix"), rows)
