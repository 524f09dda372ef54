"""A figure page around a picture: title, colour bar, scale bar and caption."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..text import visible

MARGIN = 28
GAP = 16
BAR_WIDTH = 18
RIGHT = 96  # colour bar with its ticks and label
INK, GREY, PAPER = (32, 32, 32), (110, 110, 110), (255, 255, 255)
TITLE, TEXT, SMALL = 22, 16, 13


@dataclass(frozen=True, eq=False)
class Page:
    """What a figure page shows.

    Attributes:
        picture: uint8 (h, w, 3).
        title: one line; shortened in the middle where it is too long.
        headline: below the title, wrapped.
        caption: below the picture, wrapped.
        um_per_px: width of one pixel of the picture in µm; 0 where it is not known, and no bar shows it.
        ramp: uint8 (256, 3), the colours from 0 to 100.
        bar_label: what the colour bar, from 0 to 100, shows.
    """

    picture: NDArray[np.uint8]
    title: str
    headline: str
    caption: str
    um_per_px: float
    ramp: NDArray[np.uint8]
    bar_label: str


def picture_origin(page: Page) -> tuple[int, int]:
    """(x, y) of the picture's top-left pixel on the page."""
    lines = len(_wrapped(page.headline, TEXT, page))
    return MARGIN, MARGIN + _line(TITLE) + lines * _line(TEXT) + GAP


def compose(page: Page) -> Image.Image:
    """The page as an RGB picture."""
    height, width = page.picture.shape[:2]
    x, y = picture_origin(page)
    caption = _wrapped(page.caption, SMALL, page)
    below = y + height + GAP
    total = below + _line(TEXT) + GAP + len(caption) * _line(SMALL) + MARGIN
    sheet = Image.new("RGB", (_inner_width(page) + 2 * MARGIN, total), PAPER)
    sheet.paste(Image.fromarray(page.picture), (x, y))
    draw = ImageDraw.Draw(sheet)
    draw.text((x, MARGIN), _shortened(page), INK, font(TITLE, bold=True))
    _write(draw, (x, MARGIN + _line(TITLE)), _wrapped(page.headline, TEXT, page), TEXT, INK)
    _colour_bar(sheet, page, (x + width + GAP, y))
    _scale_bar(draw, (x, below), page)
    _write(draw, (x, below + _line(TEXT) + GAP), caption, SMALL, GREY)
    return sheet


def scale_bar_um(width_um: float) -> float:
    """The longest of 1, 2, 5 times a power of ten that fits in a quarter of the width, in µm."""
    power = 10.0 ** np.floor(np.log10(width_um / 4))
    return float(max(step * power for step in (1, 2, 5) if step * power <= width_um / 4))


def _scale_bar(draw: ImageDraw.ImageDraw, at: tuple[int, int], page: Page) -> None:
    if not page.um_per_px:
        return
    x, y = at
    um = scale_bar_um(page.picture.shape[1] * page.um_per_px)
    length = round(um / page.um_per_px)
    middle = y + _line(TEXT) // 2
    draw.rectangle((x, middle - 2, x + length - 1, middle + 1), INK)
    text = f"{um / 1000:g} mm" if um >= 100 else f"{um:g} µm"
    draw.text((x + length + 10, middle), text, INK, font(TEXT), anchor="lm")


def _colour_bar(sheet: Image.Image, page: Page, at: tuple[int, int]) -> None:
    x, y = at
    height = min(page.picture.shape[0], 400)
    strip = Image.fromarray(page.ramp[::-1, None]).resize((BAR_WIDTH, height))
    sheet.paste(strip, (x, y))
    draw = ImageDraw.Draw(sheet)
    for tick in (0, 50, 100):
        level = y + round((height - 1) * (1 - tick / 100))
        draw.line((x + BAR_WIDTH, level, x + BAR_WIDTH + 4, level), INK)
        anchor = {0: "ls", 50: "lm", 100: "lt"}[tick]
        draw.text((x + BAR_WIDTH + 8, level), str(tick), INK, font(SMALL), anchor=anchor)
    label = _rotated(page.bar_label)
    sheet.paste(label, (x + BAR_WIDTH + 38, y + max(0, (height - label.height) // 2)))


def _rotated(text: str) -> Image.Image:
    """The text on paper, to be read from below."""
    face = font(SMALL)
    strip = Image.new("RGB", (int(face.getlength(text)) + 2, _line(SMALL)), PAPER)
    ImageDraw.Draw(strip).text((0, 0), text, INK, face)
    return strip.rotate(90, expand=True)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], lines: list[str], size: int, ink: tuple[int, int, int]
) -> None:
    for number, line in enumerate(lines):
        draw.text((at[0], at[1] + number * _line(size)), line, ink, font(size))


def _wrapped(text: str, size: int, page: Page) -> list[str]:
    """Lines of at most the page's width, broken at plain spaces; a single longer word stays whole."""
    face, lines = font(size), [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip(" ")
        if face.getlength(longer) <= _inner_width(page):
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]


def _shortened(page: Page) -> str:
    text, face = visible(page.title), font(TITLE, bold=True)
    while face.getlength(text) > _inner_width(page) and len(text) > 8:
        middle = len(text) // 2
        text = text[: middle - 2] + "…" + text[middle + 2 :]
    return text


def _inner_width(page: Page) -> int:
    return max(int(page.picture.shape[1]) + GAP + RIGHT, 560)


def _line(size: int) -> int:
    return round(size * 1.5)


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The typeface of all figures at this size in px."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"  # every matplotlib carries both
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size)
