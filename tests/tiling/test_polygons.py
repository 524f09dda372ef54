"""Masks to polygons and back, exactly; polygons against areas and points worked out by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slidestream.tiling.polygons import fill, trace


def area(ring: np.ndarray) -> float:
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_any_mask_comes_back_as_it_was(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(fill(trace(mask), mask.shape), mask)


def test_a_large_smooth_mask_comes_back_as_it_was_and_is_simpler() -> None:
    y, x = np.mgrid[:600, :700]
    mask = ((x - 350) ** 2 + (y - 300) ** 2 < 250**2) & ((x - 400) ** 2 + (y - 250) ** 2 > 60**2)
    mask[100:110, 20:30] = True
    polygons = trace(mask)
    np.testing.assert_array_equal(fill(polygons, mask.shape), mask)
    assert sorted(len(polygon) for polygon in polygons) == [1, 2]
    assert sum(len(ring) for polygon in polygons for ring in polygon) < 900  # of 2,000 px of outline


def test_a_rectangle_with_a_hole_in_coordinates() -> None:
    """Outlines run along the pixels' outer edges, corners cut by half a pixel."""
    mask = np.zeros((20, 30), bool)
    mask[5:15, 4:24] = True
    mask[8:12, 10:14] = False
    ((outline, hole),) = trace(mask)
    assert outline.min(axis=0).tolist() == [4, 5]
    assert outline.max(axis=0).tolist() == [24, 15]
    assert hole.min(axis=0).tolist() == [10, 8]
    assert hole.max(axis=0).tolist() == [14, 12]
    assert abs(area(outline) - 200) < 1
    assert abs(area(hole) - 16) < 1


def test_a_mask_up_to_the_edge_ends_at_the_edge() -> None:
    ((outline,),) = trace(np.ones((4, 6), bool))
    assert outline.min(axis=0).tolist() == [0, 0]
    assert outline.max(axis=0).tolist() == [6, 4]
    assert trace(np.zeros((4, 6), bool)) == []


def inside(x: float, y: float, ring: list[tuple[float, float]]) -> bool:
    """Even-odd by casting a ray to the right, side by side."""
    odd = False
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            odd = not odd
    return odd


@given(
    st.lists(st.tuples(st.integers(-40, 200), st.integers(-40, 200)), min_size=3, max_size=12),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_filling_is_casting_a_ray_from_every_centre(points: list, height: int, width: int) -> None:
    """Corners in steps of 0.1 with an odd shift, so that no centre lies on a side's end."""
    ring = [(x / 10 + 0.003, y / 10 + 0.007) for x, y in points]
    expected = [[inside(x + 0.5, y + 0.5, ring) for x in range(width)] for y in range(height)]
    np.testing.assert_array_equal(fill([[np.array(ring)]], (height, width)), expected)


def test_rings_that_cross_themselves_or_leave_the_picture_do_no_harm() -> None:
    bow = np.array([[2.0, 2], [12, 12], [12, 2], [2, 12]])
    found = fill([[bow]], (14, 14))
    assert found[7, 3]
    assert found[7, 10]
    assert not found[3, 7]
    far = np.array([[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]])
    assert fill([[far]], (5, 5)).all()
    assert not fill([[far + 1e10]], (5, 5)).any()
