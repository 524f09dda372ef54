"""What normalisation does to the slides of a cohort: a contact sheet, a table and a page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..stain.density import WHITE
from ..stain.spec import StainFit
from ..table import write_table

SHOWN = 4
CELL, GAP, TEXT = 112, 4, 13
INK, PAPER = (32, 32, 32), (255, 255, 255)
COLUMNS = (
    *("slide", "refused", "haematoxylin_r", "haematoxylin_g", "haematoxylin_b", "eosin_r", "eosin_g"),
    *("eosin_b", "haematoxylin_strength", "eosin_strength", "lab_mean", "lab_std"),
)


@dataclass(frozen=True, eq=False)
class StainEffect:
    """One slide.

    Attributes:
        fit: its stain, or None where that was refused.
        refused: why, or empty.
        before, after: some of its patches, uint8 (P, H, W, 3); the same where it was refused.
    """

    slide: str
    fit: StainFit | None
    refused: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


@dataclass(frozen=True)
class Apart:
    """How well a group, such as the scanner, can be told from embeddings, see `told_apart`."""

    column: str
    before: float | None
    after: float | None

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            return f"Too few slides or patients to say how well {self.column} can be told."
        return (
            f"AUROC of telling {self.column} from mean embeddings (0.5 is chance): "
            f"{self.before:.3f} before, {self.after:.3f} after."
        )


def write_report(folder: Path, effects: Sequence[StainEffect], apart: Apart | None) -> None:
    """Write `stain.png`, `stain.csv` and `stain.html`, which shows both, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet(effects).save(folder / "stain.png")
    write_table(folder / "stain.csv", COLUMNS, [_row(effect) for effect in effects])
    (folder / "stain.html").write_text(_page(effects, apart), encoding="utf-8")


def contact_sheet(effects: Sequence[StainEffect]) -> Image.Image:
    """A row per slide: some patches as they are, and beside them as the encoder gets them."""
    half = SHOWN * (CELL + GAP)
    row = TEXT + 2 * GAP + CELL
    sheet = Image.new("RGB", (2 * half + 5 * GAP, max(1, len(effects)) * row + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT)
    for number, effect in enumerate(effects):
        top = GAP + number * row
        draw.text((GAP, top), effect.slide + (" (not normalised)" if effect.refused else ""), INK, font)
        for side, patches in enumerate((effect.before, effect.after)):
            for place, patch in enumerate(patches[:SHOWN]):
                left = GAP + side * (half + 3 * GAP) + place * (CELL + GAP)
                sheet.paste(Image.fromarray(patch).resize((CELL, CELL)), (left, top + TEXT + GAP))
    return sheet


def _row(effect: StainEffect) -> list[object]:
    fit = effect.fit
    if fit is None:
        return [effect.slide, effect.refused, *[""] * 10]
    stains = [value for stain in fit.stains for value in stain] or [""] * 6
    lab = [" ".join(map(str, values)) for values in (fit.lab_mean, fit.lab_std)]
    return [effect.slide, "", *stains, *(fit.strengths or ("", "")), *lab]


def _page(effects: Sequence[StainEffect], apart: Apart | None) -> str:
    rows = "\n".join(
        f"<tr><td>{html.escape(effect.slide)}</td><td>{_swatches(effect.fit)}</td>"
        f"<td>{html.escape(effect.refused or _numbers(effect.fit))}</td></tr>"
        for effect in effects
    )
    told = f"<p>{html.escape(str(apart))}</p>" if apart else ""
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Stain report</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}td,th{padding:2px 10px;text-align:left}"
        "i{display:inline-block;width:2.5em;height:1.2em}</style>\n"
        f"<h1>Stain report</h1>\n{told}\n"
        f"<table><tr><th>slide</th><th>stains</th><th>parameters</th></tr>\n{rows}\n</table>\n"
        '<p>Left as scanned, right normalised:</p>\n<img src="stain.png" alt="patches before and after">\n'
        "</html>\n"
    )


def _swatches(fit: StainFit | None) -> str:
    """Haematoxylin and eosin at their strength, as little fields of colour."""
    found = zip(fit.stains, fit.strengths, strict=True) if fit else ()
    colours = [(WHITE * np.exp(-strength * np.array(stain))).clip(0, 255) for stain, strength in found]
    return "".join(f'<i style="background:rgb({r:.0f},{g:.0f},{b:.0f})"></i>' for r, g, b in colours)


def _numbers(fit: StainFit | None) -> str:
    if fit is None:
        return ""
    if not fit.stains:
        return f"L, a, b {_shown(fit.lab_mean)}, deviations {_shown(fit.lab_std)}"
    return f"H {_shown(fit.stains[0])}, E {_shown(fit.stains[1])}, strengths {_shown(fit.strengths)}"


def _shown(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)
