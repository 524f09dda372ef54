"""Intervals around a number: as wide as the promise needs, and no wider."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from slidestream.errors import UsageError
from slidestream.mil.intervals import Residuals, interval_of


def test_an_interval_is_a_rank_of_the_errors() -> None:
    """Of 19 errors 1 to 19, 95 % of the next are at most the 19th, 90 % at most the 18th."""
    kept = Residuals.of(np.ones((1, 19), bool), np.arange(1, 20) * np.where(np.arange(19) % 2, 1.0, -1.0))
    assert interval_of(100, (), kept, 0.05) == (81, 119)
    assert interval_of(100, (), kept, 0.1) == (82, 118)
    assert interval_of(0, (), kept, 0.04) == (-np.inf, np.inf)
    with pytest.raises(UsageError, match="error rate"):
        interval_of(0, (), kept, 1.0)


def test_a_slide_is_not_measured_by_its_own_error() -> None:
    held_out = np.array([[True, True, False, False], [False, False, True, True]])
    kept = Residuals.of(held_out, np.array([1.0, 2.0, 30.0, 40.0]))
    assert kept.folds == ((0,), (0,), (1,), (1,))
    assert interval_of(0, (0,), kept, 0.4) == (-40, 40)
    assert interval_of(0, (1,), kept, 0.4) == (-2, 2)
    assert Residuals.from_dict(kept.to_dict()) == kept


@pytest.mark.parametrize("error_rate", [0.1, 0.3])
def test_the_promise_is_kept_over_many_cohorts(error_rate: float) -> None:
    """200 cohorts of 60 errors each and 100 new slides: coverage within the binomial 95 % band."""
    random, held = np.random.default_rng(0), 0
    for _ in range(200):
        kept = Residuals.of(np.ones((1, 60), bool), random.standard_t(3, 60))
        _, high = interval_of(0, (), kept, error_rate)
        held += int((np.abs(random.standard_t(3, 100)) <= high).any() and (abs(random.standard_t(3)) <= high))
    low, high = binom.interval(0.95, 200, np.ceil(61 * (1 - error_rate)) / 61)
    assert low <= held <= high
