"""Patch flipping: by hand on four patches, and the truth wins over every other order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from slidestream.mil.flipping import flip

EVIDENCE = np.array([2.0, -1.0, 0.5, -3.0])


def probability(rows: NDArray[np.int64]) -> float:
    """A head of which all is known: the sum of what its patches say."""
    return float(1 / (1 + np.exp(-EVIDENCE[rows].sum())))


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_curves_and_score_by_hand() -> None:
    found = flip(EVIDENCE, probability)
    assert found.removed.tolist() == [0, 0.25, 0.5, 0.75]
    most = [sigmoid(v) for v in (-1.5, -3.5, -4.0, -3.0)]
    least = [sigmoid(v) for v in (-1.5, 1.5, 2.5, 2.0)]
    np.testing.assert_allclose(found.most_first, most)
    np.testing.assert_allclose(found.least_first, least)
    gap = np.subtract(least, most)
    expected = (gap[0] / 2 + gap[1] + gap[2] + gap[3] / 2) * 0.25 / 0.75
    assert found.score == pytest.approx(expected)


def test_the_truth_is_the_most_faithful_and_chance_is_zero() -> None:
    orders = list(itertools.permutations(range(4)))
    scores = np.array([flip(np.array(order, float), probability).score for order in orders])
    truth = flip(EVIDENCE, probability).score
    assert truth == pytest.approx(scores.max())
    assert flip(-EVIDENCE, probability).score == pytest.approx(-truth)
    assert scores.mean() == pytest.approx(0)
    assert (scores == scores.max()).sum() == 1


def test_large_bags_lose_a_share_at_a_time_and_keep_the_order_of_patches() -> None:
    seen = []

    def watch(rows: NDArray[np.int64]) -> float:
        seen.append(rows)
        return 0.5

    found = flip(np.arange(1007.0), watch, steps=10)
    assert len(found.removed) == 10
    np.testing.assert_allclose(np.diff(found.removed), 0.1, atol=1e-3)
    assert found.score == 0
    for rows in seen:
        assert (np.diff(rows) > 0).all()
    assert [len(rows) for rows in seen[:10]] == [1007 - k * 1007 // 10 for k in range(10)]
    for rows in seen[:10]:
        np.testing.assert_array_equal(rows, np.arange(len(rows)))
    for rows in seen[10:]:
        np.testing.assert_array_equal(rows, np.arange(1007 - len(rows), 1007))


def test_one_patch_has_no_order() -> None:
    assert flip(np.ones(1), lambda rows: 0.9).score is None


def test_an_explanation_that_says_nothing_gains_nothing_from_where_patches_lie() -> None:
    """Evidence that rises along the slide: ties kept in the store's order would look faithful."""
    rising = np.linspace(-1, 1, 400) / 20

    def of(rows: NDArray[np.int64]) -> float:
        return sigmoid(rising[rows].sum())

    assert abs(flip(np.zeros(400), of).score or 1) < 0.1
    assert (flip(rising, of).score or 0) > 0.5
