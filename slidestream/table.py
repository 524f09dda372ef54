"""CSV that a spreadsheet may open: written in one step, never executed, and read without guesses."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UsageError

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def harmless(cell: Any) -> Any:
    """The cell, with an apostrophe before what a spreadsheet would take for a formula.

    Also before what looks so already, so that `original` gives back either. Numbers stay as they are.
    Source: OWASP, CSV Injection.
    """
    if not isinstance(cell, str) or not cell.lstrip("'").startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def original(cell: str) -> str:
    """The inverse of `harmless`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA) else cell


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV beside its place and rename it: a reader sees the old or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # another process may write the same table
    try:
        with open(beside, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([harmless(cell) for cell in row] for row in (columns, *rows))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Table:
    """What a CSV holds, without the spaces around its cells.

    Attributes:
        path: of the file.
        columns: names, in their order.
        lines: per line its number in the file, and its cells by column; lines of empty cells are left out.
    """

    path: Path
    columns: tuple[str, ...]
    lines: tuple[tuple[int, dict[str, str]], ...]

    def require(self, columns: Collection[str]) -> None:
        """Refuse a table that lacks a column, with UsageError."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            found = ", ".join(self.columns) or "empty"
            raise UsageError(
                f"{self.path} has no column {', '.join(missing)} (its first line: {found}).",
                f"The first line must name the columns {','.join(columns)}, separated by commas.",
            )


def read_table(path: Path) -> Table:
    """Read a CSV; what a spreadsheet would have taken for a formula is as it was.

    Raises:
        UsageError: no such file, not UTF-8 text, two columns of one name, or a line with more cells than
            the first one: an unquoted comma would shift or cut what stands behind it.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            read = [(reader.line_num, [original(cell.strip()) for cell in row]) for row in reader]
    except FileNotFoundError as error:
        raise UsageError(f"{path} cannot be read: there is no such file.", "Check the path.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}.", "Give a UTF-8 CSV file.") from error
    (_, names), *lines = [line for line in read if any(line[1])] or [(1, list[str]())]
    for name in filter(None, names):
        if names.count(name) > 1:
            raise UsageError(f"{path} has two columns called {name}.", "Rename or remove one of them.")
    rows = tuple((number, _by_column(path, number, names, cells)) for number, cells in lines)
    return Table(path, tuple(filter(None, names)), rows)


def _by_column(path: Path, number: int, names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if any(cells[len(names) :]):
        raise UsageError(
            f"{path}, line {number} has {len(cells)} cells, the first line {len(names)}.",
            'Put text that holds a comma in quotes: "ductal, in situ".',
        )
    filled = [*cells, *[""] * (len(names) - len(cells))]
    return {name: cell for name, cell in zip(names, filled, strict=False) if name}
