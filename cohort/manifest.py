"""A manifest: a CSV of inputs with a column `path`, and optionally `slide_id` and `mpp`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..table import original
from ..wsi.remote_bytes import url_of


@dataclass(frozen=True)
class Row:
    """One line: the file, its id or nothing, its µm per px or None."""

    path: Path
    slide_id: str
    mpp: float | None


def read_manifest(manifest: Path) -> list[Row]:
    """Its rows, in order.

    Paths are taken from the manifest's folder on, and may lead out of it. White space around a cell
    does not count, and a cell that was kept from a spreadsheet by an apostrophe means what is behind it.

    Raises:
        UsageError: it cannot be read, or a line says nothing that can be used; the line is named.
    """
    try:
        with open(manifest, newline="", encoding="utf-8-sig") as file:
            return list(_rows(manifest, csv.DictReader(file, strict=True)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{manifest} cannot be read as a table ({type(error).__name__}).",
            "A manifest is a CSV file in UTF-8, separated by commas.",
        ) from error


def _rows(manifest: Path, table: csv.DictReader[str]) -> Iterator[Row]:
    columns = table.fieldnames or []
    if "path" not in columns:
        raise UsageError(
            f"{manifest} has no column 'path' (it has: {', '.join(columns)}).",
            "A manifest needs a column path; slide_id and mpp are optional.",
        )
    for row in table:
        where = f"{manifest}, line {table.line_num}"
        path = row["path"] or ""
        if not path.strip() or "\0" in path:
            raise UsageError(f"{where}: the path is empty.")
        slide_id = original((row.get("slide_id") or "").strip())
        yield Row(_existing(manifest.parent, path), slide_id, _mpp(row.get("mpp"), where))


def _existing(folder: Path, cell: str) -> Path:
    """The file that a cell means: first the one that is called exactly so. A URL is relative to nothing."""
    if url_of(cell.strip()):
        return Path(cell.strip())
    meanings = [cell, cell.strip(), original(cell), original(cell.strip())]
    return next((folder / path for path in meanings if (folder / path).exists()), folder / cell.strip())


def _mpp(text: str | None, where: str) -> float | None:
    if not (text or "").strip():
        return None
    try:
        return float(str(text))
    except ValueError as error:
        raise UsageError(f"{where}: mpp {text!r} is not a number.") from error
