"""Ranks and painted pixels, each against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidestream.report.attention_map import PatchPlan, concentration, paint, percentile_ranks


def plan(coords: list[tuple[int, ...]], extent: tuple[float, ...], size: tuple[int, ...]) -> PatchPlan:
    return PatchPlan(np.array(coords, dtype=np.int32).reshape(-1, len(size)), extent, size)


def test_ranks_run_from_0_to_100_with_ties_shared() -> None:
    attention = np.array([0.5, np.nan, 0.1, 0.1, 0.3], np.float32)
    np.testing.assert_allclose(percentile_ranks(attention), [100, np.nan, 100 / 6, 100 / 6, 200 / 3])
    assert percentile_ranks(np.full(4, 0.25, np.float32)).tolist() == [50.0] * 4
    assert percentile_ranks(np.array([1.0], np.float32)).tolist() == [50.0]
    assert np.isnan(percentile_ranks(np.array([np.nan], np.float32))).all()


def test_concentration_is_the_share_of_the_top_tenth() -> None:
    attention = np.array([0.5, *[0.5 / 9] * 9, np.nan], np.float32)
    assert concentration(attention) == pytest.approx(0.5)
    assert concentration(np.full(100, 0.01, np.float32)) == pytest.approx(0.1)
    assert np.isnan(concentration(np.array([np.nan], np.float32)))


def test_a_patch_fills_exactly_its_pixels() -> None:
    """A slide of 1000 x 500 px on 100 x 50 px: ten to one. The patch spans x 200 to 300, y 100 to 200."""
    picture = paint(plan([(200, 100)], (100, 100), (1000, 500)), np.array([70.0]), (50, 100))
    expected = np.full((50, 100), np.nan)
    expected[10:20, 20:30] = 70
    np.testing.assert_allclose(picture, expected)


def test_x_and_y_may_scale_differently() -> None:
    picture = paint(plan([(0, 0)], (10, 10), (20, 40)), np.array([1.0]), (8, 10))
    assert np.argwhere(np.isfinite(picture)).max(0).tolist() == [1, 4]


def test_neighbours_leave_no_gap_and_do_not_overlap() -> None:
    """Patches 31 px wide on a picture with 3.3 slide px per pixel: each pixel gets exactly one value."""
    corners = [(i * 31, j * 31) for j in range(5) for i in range(7)]
    values = np.arange(35, dtype=float)
    picture = paint(plan(corners, (31, 31), (330, 330)), values, (100, 100))
    assert set(picture[np.isfinite(picture)].round(6)) == set(values)
    assert np.isfinite(picture[:47, :66]).all()
    assert np.isnan(picture[47:]).all()


def test_overlap_shows_the_mean_and_missing_values_leave_no_trace() -> None:
    corners = [(0, 0), (5, 0), (0, 0), (10, 0)]
    picture = paint(plan(corners, (10, 10), (30, 10)), np.array([20.0, 60.0, np.nan, np.nan]), (10, 30))
    np.testing.assert_allclose(picture[0, :15], [20] * 5 + [40] * 5 + [60] * 5)
    assert np.isnan(picture[:, 15:]).all()


def test_a_volume_shows_the_greatest_value_over_z() -> None:
    corners = [(0, 0, 0), (0, 0, 10), (10, 0, 0), (10, 0, 20)]
    values = np.array([10.0, 90.0, 30.0, np.nan])
    picture = paint(plan(corners, (10, 10, 5), (20, 10, 30)), values, (10, 20))
    assert np.unique(picture[:, :10]).tolist() == [90.0]
    assert np.unique(picture[:, 10:]).tolist() == [30.0]


def test_patches_at_the_edge_and_below_a_pixel_stay_visible() -> None:
    picture = paint(plan([(995, 995), (0, 0), (500, 3)], (9, 9), (1000, 1000)), np.ones(3), (20, 20))
    assert np.argwhere(np.isfinite(picture)).tolist() == [[0, 0], [0, 10], [19, 19]]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 70)), min_size=1, max_size=12), st.integers(1, 40)
)
def test_painting_equals_a_loop_over_patches(corners: list[tuple[int, int]], side: int) -> None:
    values = np.linspace(0, 100, len(corners))
    total, count = np.zeros((80, 100)), np.zeros((80, 100))
    for (x, y), value in zip(corners, values, strict=True):
        total[y : y + side, x : x + side] += value
        count[y : y + side, x : x + side] += 1
    expected = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    found = paint(plan(corners, (side, side), (100, 80)), values, (80, 100))
    np.testing.assert_allclose(found, expected, atol=1e-9)
