"""Parts of a page that needs no other file: its style, tables, and text that is never markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from ..mil.metrics import Estimate
from ..text import visible

STYLE = """<style>
body{font:14px sans-serif;margin:2em;color:#222;max-width:1400px}
table{border-collapse:collapse;margin:1em 0 2em}
th,td{padding:4px 12px;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left}
figure{display:inline-block;margin:0 1em 1em 0}
svg{width:320px;height:auto}
.wide svg{width:100%;max-width:1200px}
.note{color:#666}
.warning{border-left:4px solid #c77700;background:#fff6e6;padding:6px 12px;margin:6px 0;max-width:900px}
</style>
"""
NOT_A_DEVICE = "<p class='note'>Not a medical device. For research use.</p>\n</html>\n"


def head(title: str) -> str:
    """The beginning of a page."""
    return f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escaped(title)}</title>\n{STYLE}'


def table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain texts."""
    lines = [_line("th", header), *(_line("td", row) for row in rows)]
    return "<table>\n" + "".join(lines) + "</table>\n"


def figure(svg: str, caption: str, css: str = "") -> str:
    """An SVG with its caption."""
    return f"<figure class='{css}'>{svg}<figcaption>{escaped(caption)}</figcaption></figure>\n"


def estimate_text(estimate: Estimate) -> str:
    """Value and interval, as shown."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def named(name: str) -> str:
    """A key as words."""
    return name.replace("_", " ").replace("-", " ")


def escaped(text: str) -> str:
    """Text that a page shows as it is."""
    return html.escape(visible(text))


def _line(cell: str, texts: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escaped(text)}</{cell}>" for text in texts) + "</tr>\n"
