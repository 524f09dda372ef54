"""The page of a stain report: HTML that needs no other file, its pictures within it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from skimage.color import lab2rgb

from ..stain.density import WHITE
from ..stain.spec import StainFit
from ..text import visible
from .page import PAPER
from .stain_effect import Patches, StainEffect, reduced, telling

SHOWN, SIDE, GAP = 3, 112, 4
"""Patches of a slide in a row of the page, their side and what is between them, in px."""

LISTED = 200
"""So many slides that could not be normalised are named on the page; the table names all."""

EXPLAINED = (
    "Of each stain (H haematoxylin, E eosin) how much it absorbs of red, green and blue, and the strength "
    "that 99 % of the tissue stay below; for reinhard the mean and the deviation of L, a and b."
)

STYLE = (
    "body{font:15px/1.4 sans-serif;color:#202020;margin:2em auto;max-width:1180px;padding:0 1em}"
    "table{border-collapse:collapse;margin:.6em 0}th,td{padding:5px 14px 5px 0;text-align:left;"
    "vertical-align:top}th,small{color:#6e6e6e}th{font-weight:normal;border-bottom:1px solid #ddd}"
    "td{overflow-wrap:anywhere;min-width:4em}img{display:block}"
    "i{display:inline-block;width:2.2em;height:1.2em;margin-right:3px;vertical-align:middle}"
)


@dataclass(frozen=True)
class GroupStain:
    """The slides of a group, or all where there are none: how many, and the fits of those that have one."""

    name: str
    slides: int
    fits: Sequence[StainFit]


@dataclass(frozen=True)
class Contents:
    """What the page shows.

    Attributes:
        told: sentences on the cohort as a whole.
        target: what slides are made to look like.
        groups: in order.
        pictured: rows of slides, see `picture_row`.
        unfit: name and cause of every slide that could not be normalised or read.
    """

    told: Sequence[str]
    target: StainFit
    groups: Sequence[GroupStain]
    pictured: Sequence[str]
    unfit: Sequence[tuple[str, str]]


def compose_page(contents: Contents) -> str:
    """The page as HTML."""
    target = ("target", "", "", _swatches(contents.target), _text(parameters(contents.target)))
    parts = [
        "<h1>Stain report</h1>",
        *(f"<p>{_text(sentence)}</p>" for sentence in contents.told),
        f"<h2>Stains</h2>\n<p>{EXPLAINED} Medians over the slides that could be normalised.</p>",
        _table(
            ("", "slides", "normalised", "colours", "parameters"),
            [_row(target), *map(_group_row, contents.groups)],
        ),
        *_unfit(contents.unfit),
        f"<h2>Slides</h2>\n<p>{_how_many(contents)}</p>",
        _table(("slide", "stain", "as scanned", "normalised"), contents.pictured),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Stain report</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _how_many(contents: Contents) -> str:
    shown, slides = len(contents.pictured), sum(group.slides for group in contents.groups)
    return f"{shown} of {slides} shown; the contact sheets show all that could be read."


def picture_row(effect: StainEffect) -> str:
    """The row of a slide with some of its patches, as HTML; about 40 kB."""
    chosen = telling(effect.before, SHOWN)
    name = f"{_text(effect.slide)}<br><small>{_text(effect.group)}</small>"
    if effect.fit is None:
        stain, after = f"not normalised<br><small>{_text(effect.refused)}</small>", ""
    else:
        told = "<br>".join(map(_text, parameters(effect.fit).split("; ")))
        stain = f"{_swatches(effect.fit)}<br><small>{told}</small>"
        after = _strip(effect.after, chosen)
    return _row((name, stain, _strip(effect.before, chosen), after))


def parameters(fit: StainFit) -> str:
    """A fit in words and numbers."""
    if not fit.stains:
        return f"L, a, b {_shown(fit.lab_mean)}; deviations {_shown(fit.lab_std)}"
    return f"H {_shown(fit.stains[0])}; E {_shown(fit.stains[1])}; strengths {_shown(fit.strengths)}"


def median_fit(fits: Sequence[StainFit]) -> StainFit:
    """Each parameter's median over fits of one method, at least one."""
    values = [
        np.median([getattr(fit, name) for fit in fits], axis=0).tolist()
        for name in ("stains", "strengths", "lab_mean", "lab_std")
    ]
    return StainFit(fits[0].method, tuple(map(tuple, values[0])), *map(tuple, values[1:]))


def _group_row(group: GroupStain) -> str:
    middle = median_fit(group.fits) if group.fits else None
    stain = (_swatches(middle), _text(parameters(middle))) if middle else ("", "")
    return _row((_text(group.name), str(group.slides), str(len(group.fits)), *stain))


def _unfit(unfit: Sequence[tuple[str, str]]) -> list[str]:
    if not unfit:
        return []
    rows = [_row((_text(slide), _text(cause))) for slide, cause in unfit[:LISTED]]
    more = f"<p>And {len(unfit) - LISTED} more, see stain.csv.</p>" if len(unfit) > LISTED else ""
    return [f"<h2>Not normalised or failed: {len(unfit)}</h2>", _table(("slide", "cause"), rows) + more]


def _swatches(fit: StainFit) -> str:
    """Haematoxylin and eosin at their strength, or the mean of the tissue, as little fields of colour."""
    if fit.stains:
        found = zip(fit.stains, fit.strengths, strict=True)
        colours = [WHITE * np.exp(-strength * np.array(stain)) for stain, strength in found]
    else:
        colours = [255 * lab2rgb(np.array(fit.lab_mean))]
    return "".join(f'<i style="background:rgb({r:.0f},{g:.0f},{b:.0f})"></i>' for r, g, b in colours)


def _strip(patches: Patches, chosen: Sequence[int]) -> str:
    """The chosen patches in a row, as an image element."""
    if not chosen:
        return ""
    strip = Image.new("RGB", (len(chosen) * (SIDE + GAP) - GAP, SIDE), PAPER)
    for place, number in enumerate(chosen):
        strip.paste(reduced(patches[number], SIDE), (place * (SIDE + GAP), 0))
    file = io.BytesIO()
    strip.save(file, format="JPEG", quality=90, subsampling=0)  # colour is what is looked at
    return f'<img alt="patches" src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">'


def _table(columns: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    return "\n".join(["<table>", f"<tr>{head}</tr>", *rows, "</table>"])


def _row(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _text(text: str) -> str:
    return html.escape(visible(text))


def _shown(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)
