"""Attention, or another explanation, over the slide as a picture, from the store: no slide is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from ..errors import UsageError
from ..features.layout import AnyPath
from ..features.store import Store
from ..mil.explain import Explanation
from ..mil.outcomes import Outcome
from ..mil.predict import Prediction
from ..spec import Spec
from .attention_map import PatchPlan, concentration, paint, percentile_ranks
from .page import Page, compose

LEGIBLE_PX = 900
PANEL_GAP = 12
NO_BREAK = "\u00a0"
PLAIN_COLORMAPS = ("viridis", "cividis", "plasma", "inferno", "magma")
SHOWN = {
    "attention": "attention",
    "perturbation": "evidence lost without the patch",
    "single": "evidence of the patch alone",
    "gradients": "integrated gradients",
}
"""What the colours of each method of explanation show."""


@dataclass(frozen=True)
class HeatmapStyle(Spec):
    """How a heatmap looks.

    Attributes:
        alpha: how much of a patch's colour covers the tissue, above 0 to 1. Below it the tissue is
            shown in grey, so that every colour speaks of relevance and none of stain.
        colormap: a perceptually uniform matplotlib colormap.
    """

    alpha: float = 0.6
    colormap: str = "viridis"

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise UsageError(f"Heatmap alpha {self.alpha} is not above 0 and at most 1.")
        if self.colormap not in PLAIN_COLORMAPS:
            raise UsageError(
                f"Colormap {self.colormap!r} does not show equal steps as equal.",
                f"Use one of {', '.join(PLAIN_COLORMAPS)}.",
            )


def draw_heatmap(
    store: Store, prediction: Prediction | Explanation, path: AnyPath, style: HeatmapStyle | None = None
) -> None:
    """Write a PNG page with a prediction and its attention or explanation over the slide's thumbnail.

    Colours show a patch's percentile rank within this slide, so the brightest patch is the most
    relevant one whatever its weight; the caption says how concentrated attention is, and how faithful
    an explanation that was tested. Patches without an embedding and tissue without patches keep the
    thumbnail's colours. In a volume the greatest rank over z is shown. The thumbnail stands beside it for
    comparison.

    Args:
        store: of the slide.
        prediction: of the same slide, with one attention weight per row of the store; or how it is
            explained.
        path: of the PNG; it is replaced in one step.
        style: colours.

    Raises:
        ValueError: the prediction is of another slide or store.
    """
    path = Path(path)
    page = compose(heatmap_page(store, prediction, style or HeatmapStyle()))
    partial = path.with_name(f".{path.name}.partial")
    page.save(partial, format="PNG")
    partial.replace(path)


def headline_of(prediction: Prediction) -> str:
    """What was predicted first, with every probability and its spread over the heads that were asked."""
    answer = prediction.answers[0]
    terms = [
        f"{name} = {value:.2f}" + (f" ± {s:.2f}" if len(prediction.folds) > 1 else "")
        for name, value, s in zip(_names(answer.outcome), answer.mean, answer.spread, strict=True)
    ]
    heads = f"mean ± SD of {len(prediction.folds)} heads" if len(prediction.folds) > 1 else "one head"
    target = answer.outcome.target
    said = f"Predicted class {prediction.predicted}:" if target.has_classes else f"Predicted {target.name}:"
    parts = [said, *(term + "," for term in terms[:-1]), terms[-1], f"({heads})"]
    return " ".join(part.replace(" ", NO_BREAK) for part in parts)


def _names(outcome: Outcome) -> list[str]:
    """What each number of an answer is."""
    if outcome.times:
        return [f"p(no {outcome.target.more[0]} until {time:g})" for time in outcome.times]
    return [f"p({name})" for name in outcome.names] or [outcome.target.name]


def heatmap_page(store: Store, shown: Prediction | Explanation, style: HeatmapStyle) -> Page:
    """The page that `draw_heatmap` writes; its picture is a whole multiple of the thumbnail's size."""
    explanation = shown if isinstance(shown, Explanation) else Explanation.of_attention(shown)
    prediction, relevance, plan = explanation.prediction, explanation.relevance, _plan(store)
    if prediction.slide != store.slide_id or len(relevance) != len(plan.coords):
        raise ValueError(f"{len(relevance)} weights of {prediction.slide} do not fit {store.slide_id}")
    thumbnail = _enlarged(store.thumbnail())
    ranks = paint(plan, percentile_ranks(relevance), thumbnail.shape[:2])
    source: dict[str, Any] = store.attributes["source"]
    return Page(
        picture=beside(thumbnail, blend(thumbnail, ranks, style)),
        title=store.slide_id,
        headline=headline_of(prediction),
        caption=_caption(store, explanation, plan),
        um_per_px=source["spacing"][0] * source["size"][0] / thumbnail.shape[1],
        ramp=_ramp(thumbnail, ranks, style),
        bar_label=f"{SHOWN[explanation.method]}, percentile within slide",
    )


def blend(thumbnail: NDArray[np.uint8], ranks: NDArray[np.float64], style: HeatmapStyle) -> NDArray[np.uint8]:
    """The thumbnail (h, w, 3) under the colours of ranks (h, w) from 0 to 100; NaN shows none."""
    shown = np.isfinite(ranks)
    colours = colormaps[style.colormap](np.where(shown, ranks, 0) / 100)[..., :3] * 255
    mixed: NDArray[np.float64] = style.alpha * colours + (1 - style.alpha) * _grey(thumbnail)
    return np.where(shown[..., None], mixed.round().clip(0, 255), thumbnail).astype(np.uint8)


def beside(thumbnail: NDArray[np.uint8], heatmap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two pictures (h, w, 3) as one: side by side where they are high, one above the other where wide."""
    axis = 1 if thumbnail.shape[0] > thumbnail.shape[1] else 0
    shape = list(thumbnail.shape)
    shape[axis] = PANEL_GAP
    return np.concatenate([thumbnail, np.full(shape, 255, np.uint8), heatmap], axis=axis)


def _ramp(thumbnail: NDArray[np.uint8], ranks: NDArray[np.float64], style: HeatmapStyle) -> NDArray[np.uint8]:
    """(256, 3) the colours of 0 to 100 as they look over tissue of the mean brightness under patches."""
    shown = np.isfinite(ranks)
    grey = _grey(thumbnail)[shown].mean() if shown.any() else 255
    paper = np.full((1, 256, 3), round(grey), np.uint8)
    return blend(paper, np.linspace(0, 100, 256)[None], style).reshape(256, 3)


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(h, w, 1) luma of a picture (h, w, 3), ITU-R BT.601."""
    luma: NDArray[np.float64] = picture @ np.array([0.299, 0.587, 0.114])
    return luma[..., None]


def _plan(store: Store) -> PatchPlan:
    attributes = store.attributes
    return PatchPlan(store.coords(), tuple(attributes["extent"]), tuple(attributes["source"]["size"]))


def _enlarged(thumbnail: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A thumbnail at a whole multiple of its size, large enough to read."""
    height, width = thumbnail.shape[:2]
    factor = max(1, round(LEGIBLE_PX / max(height, width)))
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(thumbnail).resize(size, Image.Resampling.BICUBIC))


def _caption(store: Store, explanation: Explanation, plan: PatchPlan) -> str:
    relevance = explanation.relevance
    shown = int(np.isfinite(relevance).sum())
    mask = store.mask() > 0
    covered = np.isfinite(paint(plan, np.where(np.isfinite(relevance), 0.0, np.nan), mask.shape))
    sentences = [f"{shown} of {len(relevance)} patches have an embedding and are coloured."]
    if mask.any():
        sentences.append(f"They cover {(covered & mask).sum() / mask.sum():.0%} of the tissue found.")
    if shown and explanation.method == "attention":
        sentences.append(
            f"The tenth of them with most attention holds {concentration(relevance):.0%} of it all."
        )
    score = explanation.flipping.score if explanation.flipping else None
    if score is not None:
        sentences.append(f"Faithfulness by patch flipping {score:+.2f}; 0 is chance.")
    if plan.coords.shape[1] == 3:
        sentences.append("Volume: the greatest percentile over z at each place.")
    return " ".join(sentences)
