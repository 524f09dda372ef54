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
th:first-child,td:first-child{text-align:left;min-width:6em}
figure{display:inline-table;margin:0 1em 1em 0}
figcaption{display:table-caption;caption-side:bottom}
svg{max-width:100%;height:auto}
.note{color:#666}
small{white-space:nowrap}
.warning{border-left:4px solid #c77700;background:#fff6e6;padding:6px 12px;margin:6px 0;max-width:900px}
</style>
"""
METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "brier": "Brier score",
    "calibration_error": "expected calibration error",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity",
    "macro_auroc": "mean AUROC",
    "macro_auprc": "mean AUPRC",
    "macro_brier": "mean Brier score",
    "r2": "R²",
    "mae": "mean absolute error",
    "pearson": "Pearson's correlation",
    "c_index": "concordance (Harrell)",
    "c_index_uno": "concordance (Uno)",
    "integrated_brier": "integrated Brier score",
}
"""What is not called as its key."""

MOST_LISTED, FIRST = 12, 3
"""Names that a sentence has room for, and those that stand for more."""

NOT_A_DEVICE = "<p class='note'>Not a medical device. For research use.</p>\n</html>\n"


def head(title: str) -> str:
    """The beginning of a page."""
    return f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escaped(title)}</title>\n{STYLE}'


def table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain texts."""
    lines = [_line("th", header), *(_line("td", row) for row in rows)]
    return "<table>\n" + "".join(lines) + "</table>\n"


def figure(svg: str, caption: str) -> str:
    """An SVG with its caption."""
    return f"<figure>{svg}<figcaption>{escaped(caption)}</figcaption></figure>\n"


def estimate_text(estimate: Estimate) -> str:
    """Value and interval, as shown."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


class Markup(str):
    """Text that is markup already, of numbers only."""


def two_lines(estimate: Estimate) -> Markup:
    """Value and interval, one below the other: a table of many columns has no room for both in a line."""
    value, _, interval = estimate_text(estimate).partition(" ")
    return Markup(f"{value}<br><small>{interval}</small>")


def named(name: str) -> str:
    """A key of the program as words."""
    return name.replace("_", " ").replace("-", " ")


def metric_name(name: str, prefix: str = "") -> str:
    """A metric as its readers call it, after the name of its target where `prefix` begins with that."""
    bare = name.removeprefix(prefix)
    target = f"{prefix.removesuffix('.')}: " if prefix else ""
    for key, words in METRICS.items():
        if bare == key:
            return target + words
    for key in ("auroc", "auprc", "brier"):
        if bare.startswith(f"{key}_"):
            # A name that somebody gave to a label, or a time, stays as it is.
            rest = bare.removeprefix(f"{key}_")
            return f"{target}{METRICS[key]} {'at ' + rest[3:] if rest.startswith('at_') else 'of ' + rest}"
    return target + named(bare)


def listed(names: Sequence[str]) -> str:
    """Names behind each other, those that hold a comma in quotes; of many only some."""
    shown = names if len(names) <= MOST_LISTED else names[:FIRST]
    text = ", ".join(f'"{name}"' if "," in name else name for name in shown)
    return text if len(shown) == len(names) else f"{text} and {len(names) - FIRST} more"


def escaped(text: str) -> str:
    """Text that a page shows as it is."""
    return html.escape(visible(text))


def _line(cell: str, texts: Iterable[str]) -> str:
    shown = (text if isinstance(text, Markup) else escaped(text) for text in texts)
    return "<tr>" + "".join(f"<{cell}>{text}</{cell}>" for text in shown) + "</tr>\n"
