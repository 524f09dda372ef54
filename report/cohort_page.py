"""A page to leaf through a cohort: every slide with its picture and its measures, and what failed."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from ..text import visible

HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tissue</title>
<style>
body{font:14px sans-serif;margin:2em;color:#222}
table{border-collapse:collapse;margin-bottom:2em}
th,td{padding:4px 12px;text-align:right;border-bottom:1px solid #ddd}
th{position:sticky;top:0;background:#fff}
th{vertical-align:bottom}
td:nth-child(2),th:nth-child(2),.failed td,.failed th{text-align:left}
img{max-width:160px;max-height:120px;display:block;margin:auto}
</style>
"""


class Failure(Protocol):
    """What could not be looked at, and why."""

    @property
    def slide_id(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def fix(self) -> str: ...


def write_cohort_page(
    path: Path, rows: Sequence[tuple[str, Mapping[str, Any]]], failed: Sequence[Failure]
) -> None:
    """Write the page; its pictures are read when they come into view, so it opens fast on a large cohort.

    Args:
        rows: per slide the name of its picture, a file in the page's folder, and its measures.
    """
    columns = list(dict.fromkeys(key for _, row in rows for key in row))
    with open(path, "w", encoding="utf-8") as page:
        page.write(f"{HEAD}<h1>{len(rows)} slides{f', {len(failed)} failed' if failed else ''}</h1>\n")
        if failed:
            page.write('<table class="failed">\n' + _line("th", ["slide", "code", "cause", "fix"]))
            page.writelines(_line("td", [f.slide_id, f.code, f.cause, f.fix]) for f in failed)
            page.write("</table>\n")
        page.write("<table>\n" + _line("th", ["", *(key.replace("_", " ") for key in columns)]))
        for picture, row in rows:
            cells = _line("td", [row.get(key, "") for key in columns])
            link = html.escape(quote(picture))
            shown = f'<td><a href="{link}"><img loading="lazy" src="{link}" alt=""></a></td>'
            page.write(cells.replace("<tr>", f"<tr>{shown}", 1))
        page.write("</table>\n</html>\n")


def _line(cell: str, values: Sequence[Any]) -> str:
    shown = (html.escape(visible(str(value))) for value in values)
    return "<tr>" + "".join(f"<{cell}>{text}</{cell}>" for text in shown) + "</tr>\n"
