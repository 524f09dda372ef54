"""Prediction sets: coverage over repeats, and scores and quantiles by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from scipy.special import softmax
from scipy.stats import binom
from sklearn.base import BaseEstimator, ClassifierMixin

from slidestream.errors import UsageError
from slidestream.mil.calibration import Calibration
from slidestream.mil.conformal import SCORES, SetSpec, limits, prediction_sets, set_of

REPEATS, ERROR = 200, 0.1


def simulate(random: np.random.Generator, slides: int) -> tuple[np.ndarray, np.ndarray]:
    """Five grades of a noisy severity, and probabilities of a model that is too sure."""
    severity = 5 * random.random(slides)
    targets = np.clip(severity + 0.8 * random.normal(size=slides), 0, 4.999).astype(int)
    noise = 0.3 * random.normal(size=(slides, 5))
    return targets, softmax(-2 * np.abs(np.arange(5) + 0.5 - severity[:, None]) + noise, axis=1)


@pytest.mark.parametrize("score", SCORES)
def test_coverage_is_nominal_over_repeats(score: str) -> None:
    """One new slide beside 99 others is covered 9 times in 10 exactly, so the count is binomial.

    200 repeats of 20 independent draws each: in so narrow a band a rank off by one is seen.
    """
    random, covered = np.random.default_rng(0), 0
    for _ in range(REPEATS * 20):
        targets, p = simulate(random, 100)
        limit = limits(p[1:], targets[1:], SetSpec(ERROR, score))
        covered += bool(prediction_sets(p[:1], limit, score)[0, targets[0]])
    low, high = binom.ppf([0.025, 0.975], REPEATS * 20, 1 - ERROR)
    assert low <= covered <= high


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier for MAPIE: its input is what it predicts."""

    classes_ = np.arange(5)

    def fit(self) -> Given:
        return self

    def predict(self, p: np.ndarray) -> np.ndarray:
        return p.argmax(1)

    def predict_proba(self, p: np.ndarray) -> np.ndarray:
        return p

    def __sklearn_is_fitted__(self) -> bool:
        return True


def of_mapie(targets: np.ndarray, p: np.ndarray, new: np.ndarray) -> np.ndarray:
    oracle = SplitConformalClassifier(Given(), confidence_level=1 - ERROR, conformity_score="lac")
    return oracle.conformalize(p, targets).predict_set(new)[1][..., 0]


def repeats(slides: int) -> Iterator[tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Calibration slides and as many new ones, 200 times."""
    random = np.random.default_rng(3)
    for _ in range(REPEATS):
        yield simulate(random, slides), simulate(random, slides)


def test_sets_are_those_of_mapie() -> None:
    """The most probable class is in ours always, not in MAPIE's. Its "aps" draws random numbers."""
    for (targets, p), (_, new) in repeats(60):
        inside = prediction_sets(new, limits(p, targets, SetSpec(ERROR)), "lac")
        theirs = of_mapie(targets, p, new)
        theirs[np.arange(len(new)), new.argmax(1)] = True
        np.testing.assert_array_equal(inside, theirs)


@pytest.mark.parametrize("score", SCORES)
def test_coverage_over_repeats_lies_where_it_must(score: str) -> None:
    """The mean over repeats of the share covered is 1 - error up to that and 1 / (n + 1)."""
    slides, covered = 99, []
    for (targets, p), (truth, new) in repeats(slides):
        inside = prediction_sets(new, limits(p, targets, SetSpec(ERROR, score)), score)
        covered.append(inside[np.arange(slides), truth].mean())
    error = 1.96 * np.std(covered) / np.sqrt(REPEATS)
    assert 1 - ERROR - error <= np.mean(covered) <= 1 - ERROR + 1 / (slides + 1) + error


def test_coverage_holds_in_every_class_where_asked() -> None:
    random = np.random.default_rng(1)
    hit = {True: np.zeros(5), False: np.zeros(5)}
    seen = np.zeros(5)
    for _ in range(REPEATS):
        targets, p = simulate(random, 1500)
        new, kept = slice(0, 500), slice(500, None)
        seen += np.bincount(targets[new], minlength=5)
        for per_class in (True, False):
            limit = limits(p[kept], targets[kept], SetSpec(ERROR, "lac", per_class))
            inside = prediction_sets(p[new], limit, "lac")[np.arange(500), targets[new]]
            hit[per_class] += np.bincount(targets[new], weights=inside, minlength=5)
    assert (np.abs(hit[True] / seen - 0.9) < 0.015).all()
    assert np.abs(hit[False] / seen - 0.9).max() > 0.03


def test_scores_by_hand() -> None:
    p = np.array([[0.1, 0.3, 0.05, 0.35, 0.2]])
    np.testing.assert_allclose(SCORES["lac"](p), [[0.9, 0.7, 0.95, 0.65, 0.8]])
    np.testing.assert_allclose(SCORES["aps"](p), [[0.95, 0.65, 1.0, 0.35, 0.85]])
    np.testing.assert_allclose(SCORES["ordinal"](p), [[1.0, 0.9, 0.6, 0.35, 0.55]])


def test_the_limit_is_the_finite_sample_quantile() -> None:
    p = np.linspace(0.99, 0.01, 99)
    two, targets = np.stack([p, 1 - p], axis=1), np.zeros(99, dtype=int)
    assert limits(two, targets, SetSpec(0.1))[0] == pytest.approx(np.sort(1 - p)[89])  # the 90th of 99
    assert limits(two[:8], targets[:8], SetSpec(0.1)).tolist() == [np.inf, np.inf]  # 9 slides are needed
    assert limits(two, targets, SetSpec(0.1, per_class=True))[1] == np.inf  # no slide of the second class


@pytest.mark.parametrize("score", SCORES)
def test_sets_are_never_empty_and_ordinal_ones_have_no_gap(score: str) -> None:
    p = np.random.default_rng(2).dirichlet(np.ones(6), 300)
    assert prediction_sets(p, np.full(6, -1.0), score).sum(1).tolist() == [1] * 300
    limit = np.array([2.0, 0.2, 0.9, 0.1, 0.8, 0.5])
    inside = prediction_sets(p, limit, score)
    gaps = (np.abs(np.diff(inside.astype(int), axis=1, prepend=0, append=0)).sum(1) > 2).any()
    assert gaps == (score != "ordinal")


@pytest.mark.parametrize("wrong", [{"error_rate": 0}, {"error_rate": 1}, {"score": "x"}, {"largest": 0}])
def test_impossible_sets_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        SetSpec(**{"error_rate": 0.1} | wrong)


def test_a_training_slide_is_not_measured_by_its_own_fold() -> None:
    """Fold 1 holds the odd scores: with it the set is larger."""
    sure, unsure = (0.95, 0.05), (0.4, 0.6)
    folds = ((0,),) * 20 + ((1,),) * 20
    kept = Calibration(1.0, (1.0, 1.0), folds, (0,) * 40, (sure,) * 20 + (unsure,) * 20)
    p = np.array([0.55, 0.45])
    assert set_of(p, (), kept, SetSpec(0.2)) == [0, 1]
    assert set_of(p, (1,), kept, SetSpec(0.2)) == [0]
