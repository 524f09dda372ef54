"""A threshold for a wanted sensitivity: found by hand, kept on new slides, refused with too few slides."""

from __future__ import annotations

import numpy as np
import pytest

from slidestream.errors import UsageError
from slidestream.mil.calibration import Calibration
from slidestream.mil.threshold import threshold_for


def calibration(scores: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Calibration:
    folds = np.arange(len(scores)) % 5 if folds is None else folds
    rows = tuple((1 - float(s), float(s)) for s in scores)
    return Calibration(1.0, (1.0,) * 5, tuple((f,) for f in folds.tolist()), tuple(targets.tolist()), rows)


def test_by_hand() -> None:
    """Of 19 positives at 0.05, 0.10 ... 0.95 the second smallest: a new one is above it 18 times of 20."""
    scores = np.concatenate([np.arange(1, 20) / 20, [0.02, 0.3]])
    targets = np.array([1] * 19 + [0, 0])
    assert threshold_for(calibration(scores, targets), 0.9).value == pytest.approx(0.10)
    assert threshold_for(calibration(scores, targets), 0.95).value == pytest.approx(0.05)
    assert threshold_for(calibration(scores, targets), 0.5).value == pytest.approx(0.5)


def test_new_positives_are_found_as_often_as_wanted() -> None:
    """Over 400 repeats: the mean sensitivity on new slides is at least what was asked, and little more."""
    random, reached = np.random.default_rng(0), []
    for _ in range(400):
        scores = np.concatenate([random.beta(3, 2, 60), random.beta(2, 3, 60)])
        found = threshold_for(calibration(scores, np.repeat([1, 0], 60)), 0.9)
        reached.append((random.beta(3, 2, 500) >= found.value).mean())
    error = 3 * np.std(reached) / 20
    assert 0.9 - error <= np.mean(reached) <= 0.9 + 1 / 61 + error


def test_what_it_did_out_of_fold_is_judged_by_thresholds_of_the_other_folds() -> None:
    random = np.random.default_rng(1)
    folds, targets = np.repeat(np.arange(5), 20), np.tile([1, 0], 50)
    scores = random.uniform(size=100) * 0.5 + targets * 0.3 - folds * 0.05
    called = []
    for score, fold in zip(scores, folds, strict=True):
        others = sorted(scores[(folds != fold) & (targets == 1)])
        allowed_below = int((len(others) + 1) * 0.3) - 1  # of n + 1 positives, the new one among them
        called.append(score >= others[allowed_below])
    found = threshold_for(calibration(scores, targets, folds), 0.7)
    judged_on_themselves = scores >= found.value
    assert found.sensitivity == pytest.approx(np.mean([c for c, t in zip(called, targets, strict=True) if t]))
    assert found.specificity == pytest.approx(
        1 - np.mean([c for c, t in zip(called, targets, strict=True) if not t])
    )
    assert (judged_on_themselves != called).any(), "else the folds make no difference"


def test_too_few_positives_are_said() -> None:
    kept = calibration(np.array([0.9, 0.8, 0.7, 0.1, 0.2]), np.array([1, 1, 1, 0, 0]))
    with pytest.raises(UsageError, match="3 positive slides are too few"):
        threshold_for(kept, 0.95)
    assert threshold_for(kept, 0.75).value == pytest.approx(0.7)


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    kept = calibration(np.array([0.9, 0.1]), np.array([1, 0]))
    with pytest.raises(UsageError, match="cannot be asked for"):
        threshold_for(kept, share)


def test_more_classes_have_no_threshold() -> None:
    kept = Calibration(1.0, (1.0,), ((0,),), (2,), ((0.2, 0.3, 0.5),))
    with pytest.raises(UsageError, match="two classes"):
        threshold_for(kept, 0.9)
