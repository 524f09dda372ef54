"""One slide before and after stain normalisation: its stain, some patches, its cell of a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..stain.spec import StainFit
from ..stain.table import apply
from .contact import CELL
from .page import PAPER

NORMALISED, REFUSED, FAILED = "normalised", "not normalised", "failed"
PAIRS = 2
"""Patches of a slide on a contact sheet, each as scanned and normalised."""

Patches = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class StainEffect:
    """One slide.

    Attributes:
        group: such as its scanner; empty for none.
        fit: its stain, or None where that was refused.
        refused: why, or empty.
        before, after: some of its patches, uint8 (P, H, W, 3), as scanned and as `normalised`.
    """

    slide: str
    group: str
    fit: StainFit | None
    refused: str
    before: Patches
    after: Patches

    @property
    def outcome(self) -> str:
        return REFUSED if self.fit is None else NORMALISED


def normalised(fit: StainFit | None, target: StainFit, patches: Patches) -> Patches:
    """Patches (P, H, W, 3) as an encoder would get them: as they are where there is no fit."""
    after: Patches = apply(fit, target, torch.from_numpy(patches)).numpy() if fit else patches
    return after


def pairs(effect: StainEffect) -> Patches:
    """Two patches in a square as a contact sheet takes it: each as scanned, and beside it normalised.

    What is not normalised has nothing beside it.
    """
    half = CELL // PAIRS
    sheet = Image.new("RGB", (CELL, CELL), PAPER)
    for row, place in enumerate(telling(effect.before, PAIRS)):
        for column, patches in enumerate((effect.before, effect.after) if effect.fit else (effect.before,)):
            sheet.paste(reduced(patches[place], half - 2), (column * half + 1, row * half + 1))
    return np.asarray(sheet)


def telling(patches: Patches, wanted: int) -> list[int]:
    """Which patches to show, at most so many: evenly spread over the darker half, which holds most tissue."""
    order = np.argsort(patches.mean(axis=(1, 2, 3)), kind="stable")
    darker = order[: max(wanted, len(order) // 2)].tolist()
    count = min(len(darker), wanted)
    return sorted(darker[(2 * i + 1) * len(darker) // (2 * count)] for i in range(count))


def reduced(patch: Patches, side: int) -> Image.Image:
    """A patch (H, W, 3) as a square picture of this side in px."""
    return Image.fromarray(patch).resize((side, side), Image.Resampling.BOX)
