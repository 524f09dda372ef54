"""Heatmaps: colours where the attention is, the thumbnail elsewhere, and a page that says what is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from slidestream.errors import UsageError
from slidestream.mil.ensemble import Answer
from slidestream.mil.outcomes import Outcome
from slidestream.mil.predict import Prediction
from slidestream.mil.target import Target
from slidestream.report.heatmap import HeatmapStyle, beside, draw_heatmap, headline_of, heatmap_page
from slidestream.report.page import compose, picture_origin, scale_bar_um

STYLE = HeatmapStyle(alpha=1.0)
# 1000 x 500 px on a thumbnail of 1000 x 500: one to one, shown at once its size.
CORNERS = [(200, 100), (300, 100), (700, 300), (0, 0)]
THUMBNAIL = np.random.default_rng(0).integers(0, 255, (500, 1000, 3)).astype(np.uint8)


def fake_store(
    corners: list[tuple[int, ...]] = CORNERS, thumbnail: np.ndarray = THUMBNAIL, **more: Any
) -> Any:
    mask = np.zeros(thumbnail.shape[:2], np.uint8)
    mask[100:200, 200:600] = 1
    source = {"size": [1000, 500, 60][: len(corners[0])], "spacing": [0.5, 0.5, 2.0]}
    return SimpleNamespace(
        slide_id="a",
        attributes={"extent": [100.0] * len(corners[0]), "source": source} | more,
        coords=lambda: np.array(corners, np.int32),
        thumbnail=lambda: thumbnail,
        mask=lambda: mask,
    )


def prediction(attention: list[float], folds: int = 1, slide: str = "a") -> Prediction:
    p = np.tile([0.25, 0.75], (folds, 1))
    answer = Answer(Outcome(Target(), ("low", "high")), p)
    attended = np.array(attention, np.float32)
    return Prediction(slide=slide, answers=(answer,), folds=tuple(range(folds)), attention=attended)


def heatmap_half(store: Any, of: Prediction, style: HeatmapStyle = STYLE) -> np.ndarray:
    """The lower picture of a wide slide's page."""
    picture = heatmap_page(store, of, style).picture
    return picture[-THUMBNAIL.shape[0] :]


def colour(rank: float) -> list[int]:
    return [round(c * 255) for c in colormaps["viridis"](rank / 100)[:3]]


def test_planted_attention_is_bright_exactly_where_it_is() -> None:
    shown = heatmap_half(fake_store(), prediction([0.1, 0.2, 0.7, np.nan]))
    expected = THUMBNAIL.copy()
    expected[100:200, 200:300] = colour(0)
    expected[100:200, 300:400] = colour(50)
    expected[300:400, 700:800] = colour(100)
    np.testing.assert_array_equal(shown, expected)


def test_below_the_colours_tissue_is_grey_and_still_to_be_seen() -> None:
    shown = heatmap_half(fake_store(), prediction([np.nan, np.nan, 1, np.nan]), HeatmapStyle(alpha=0.5))
    inside = np.s_[300:400, 700:800]
    luma = THUMBNAIL[inside] @ [0.299, 0.587, 0.114]
    expected = 0.5 * luma[..., None] + 0.5 * np.array(colormaps["viridis"](0.5)[:3]) * 255
    assert np.abs(shown[inside] - expected).max() <= 0.5
    outside = np.ones((500, 1000), bool)
    outside[inside] = False
    np.testing.assert_array_equal(shown[outside], THUMBNAIL[outside])


def test_the_slide_alone_stands_beside_its_heatmap() -> None:
    wide = heatmap_page(fake_store(), prediction([1, 1, 1, 1]), STYLE).picture
    np.testing.assert_array_equal(wide[:500], THUMBNAIL)
    high = beside(THUMBNAIL.transpose(1, 0, 2), THUMBNAIL.transpose(1, 0, 2))
    assert high.shape == (1000, 1012, 3)


def test_a_small_thumbnail_is_enlarged_by_a_whole_number() -> None:
    store = fake_store(thumbnail=np.full((50, 100, 3), 240, np.uint8))
    page = heatmap_page(store, prediction([np.nan, np.nan, 1, np.nan]), STYLE)
    lower = page.picture[-450:]
    assert lower.shape == (450, 900, 3)
    coloured = (lower != 240).any(2)
    expected = np.zeros((450, 900), bool)
    expected[270:360, 630:720] = True
    np.testing.assert_array_equal(coloured, expected)
    assert page.um_per_px == pytest.approx(0.5 * 1000 / 900)


def test_the_page_carries_the_picture_unchanged_and_a_caption_that_is_true(tmp_path: Path) -> None:
    store, of = fake_store(), prediction([0.1, 0.2, 0.7, np.nan])
    page = heatmap_page(store, of, HeatmapStyle())
    # Tissue spans x 200 to 600, its patches 200 to 400.
    assert "3 of 4 patches" in page.caption
    assert "cover 50% of the tissue" in page.caption
    assert "holds 70% of it all" in page.caption
    draw_heatmap(store, of, tmp_path / "a.png")
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    x, y = picture_origin(page)
    h, w = page.picture.shape[:2]
    np.testing.assert_array_equal(sheet[y : y + h, x : x + w], page.picture)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_volume_says_that_it_is_a_projection() -> None:
    store = fake_store(corners=[(200, 100, 0), (200, 100, 30)], extent=[100.0, 100.0, 30.0])
    page = heatmap_page(store, prediction([0.9, 0.1]), STYLE)
    assert "over z" in page.caption
    assert page.picture[-500:][150, 250].tolist() == colour(100)


def test_a_slide_without_any_embedding_is_drawn_as_it_is() -> None:
    page = heatmap_page(fake_store(), prediction([np.nan] * 4), STYLE)
    np.testing.assert_array_equal(page.picture[-500:], THUMBNAIL)
    assert "0 of 4 patches" in page.caption
    compose(page)


def test_a_name_of_two_lines_is_a_title_of_one() -> None:
    page = heatmap_page(fake_store(), prediction([np.nan] * 4), STYLE)
    one = np.asarray(compose(replace(page, title="new\\nline")))
    np.testing.assert_array_equal(np.asarray(compose(replace(page, title="new\nline"))), one)


def test_the_headline_tells_one_head_from_several() -> None:
    assert headline_of(prediction([1])).replace("\u00a0", " ") == (
        "Predicted class high: p(low) = 0.25, p(high) = 0.75 (one head)"
    )
    assert "± 0.00 (mean ± SD of 3 heads)" in headline_of(prediction([1], folds=3)).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("width_um", "bar"), [(1000, 200), (2000, 500), (8000, 2000), (3999, 500), (4000, 1000), (25.0, 5.0)]
)
def test_the_scale_bar_is_a_round_length_in_a_quarter_of_the_width(width_um: float, bar: float) -> None:
    assert scale_bar_um(width_um) == pytest.approx(bar)


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    """1000 px at 0.5 µm: a quarter is 125 µm, the bar 100 µm, 200 px of ink."""
    page = heatmap_page(fake_store(), prediction([1, 1, 1, 1]), STYLE)
    sheet = np.asarray(compose(page))
    x, y = picture_origin(page)
    below = sheet[y + page.picture.shape[0] : y + page.picture.shape[0] + 45]
    ink = (below < 60).all(2)
    rows = np.flatnonzero(ink[:, x : x + 150].all(1))
    assert len(rows) == 4
    assert ink[rows[0], x : x + 205].sum() == 200


def test_long_names_and_many_classes_stay_on_the_page() -> None:
    names = tuple(f"a rather long class name {i}" for i in range(9))
    store = fake_store()
    store.slide_id = "TCGA-" * 60
    answer = Answer(Outcome(Target(), names), np.full((2, 9), 1 / 9))
    of = Prediction(slide=store.slide_id, answers=(answer,), folds=(0, 1), attention=np.ones(4, np.float32))
    sheet = np.asarray(compose(heatmap_page(store, of, STYLE)))
    assert (sheet[:, -10:] == 255).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        heatmap_page(fake_store(), prediction([1, 1]), STYLE)
    with pytest.raises(ValueError, match="do not fit"):
        heatmap_page(fake_store(), prediction([1, 1, 1, 1], slide="b"), STYLE)
    with pytest.raises(UsageError, match="viridis"):
        HeatmapStyle(colormap="jet")
    with pytest.raises(UsageError, match="alpha"):
        HeatmapStyle(alpha=0)
