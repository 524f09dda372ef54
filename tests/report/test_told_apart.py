"""How well groups can be told: against a second computation, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.model_selection import StratifiedGroupKFold

from slidestream.mil.labels import Entry, Labels
from slidestream.report.told_apart import Apart, compare, told_apart

Floats = NDArray[np.float64]


def labels(groups: str, patients: list[int] | None = None) -> Labels:
    """Slides s00, s01, ... whose groups are the letters; each is of its own patient unless said otherwise."""
    whose = patients or list(range(len(groups)))
    return Labels.of(Entry(f"s{i:02d}", f"p{whose[i]}", group) for i, group in enumerate(groups))


def by_another_way(targets: NDArray[np.int64], means: Floats, patients: tuple[str, ...]) -> float:
    """Logistic regression written out and minimised by scipy; pairs counted one by one."""
    scores = []
    for seed in range(5):
        score = np.zeros(len(targets))
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for seen, new in splitter.split(means, targets, patients):
            middle, width = means[seen].mean(axis=0), means[seen].std(axis=0)
            x, sign = (means[seen] - middle) / width, 2 * targets[seen] - 1
            weight = len(seen) / (2 * np.bincount(targets[seen])[targets[seen]])

            def cost(w: Floats, x: Floats = x, sign: Floats = sign, weight: Floats = weight) -> float:
                return float((weight * np.logaddexp(0, -sign * (x @ w[1:] + w[0]))).sum() + w[1:] @ w[1:] / 2)

            found = minimize(cost, np.zeros(means.shape[1] + 1), tol=1e-10).x
            score[new] = (means[new] - middle) / width @ found[1:] + found[0]
        ones, zeros = score[targets == 1], score[targets == 0]
        scores.append(np.mean([(one > zero) + 0.5 * (one == zero) for one in ones for zero in zeros]))
    return float(np.mean(scores))


def test_a_second_computation_agrees() -> None:
    asked = labels("ABBABAABBAABABBABAAB", [i // 2 for i in range(20)])
    rng = np.random.default_rng(0)
    means = rng.normal(size=(20, 4)) + 0.7 * asked.targets[:, None]
    expected = by_another_way(asked.targets, means, asked.patients)
    assert 0.6 < expected < 0.98, "neither chance nor certain, so that it could differ"
    assert told_apart(asked, means) == pytest.approx(expected, abs=0.005)


def test_a_clear_sign_is_one_and_none_is_chance() -> None:
    asked, rng = labels("AB" * 30), np.random.default_rng(0)
    noise = rng.normal(size=(60, 5))
    assert told_apart(asked, noise + np.eye(5)[0] * 20 * asked.targets[:, None]) == 1.0
    chance = [told_apart(asked, rng.normal(size=(60, 5))) for _ in range(8)]
    assert np.mean(chance) == pytest.approx(0.5, abs=0.07)


def test_a_patient_is_not_known_again() -> None:
    """Slides of a patient are alike, but nothing tells the group: by slide that would look like 1."""
    patients = [i // 4 for i in range(80)]
    asked = labels("".join("AB"[p % 2] for p in patients), patients)
    own = np.random.default_rng(1).normal(size=(20, 12))[patients]
    means = own + np.random.default_rng(2).normal(scale=0.01, size=own.shape)
    assert told_apart(asked, means) < 0.75
    assert told_apart(labels("".join("AB"[p % 2] for p in patients)), means) > 0.95


def test_groups_of_one_patient_are_left_out() -> None:
    asked = labels("AABBC")
    means = {slide: (np.array([float(i > 1)]), np.array([0.0])) for i, slide in enumerate(asked.slides)}
    assert compare("site", asked, means) == Apart("site", ("A", "B"), 4, 1.0, 0.5)
    few = compare("site", labels("AAB"), means)
    assert few == Apart("site", ("A",), 2, None, None)
    assert "two groups" in str(few)


def test_means_find_their_slide_in_any_order() -> None:
    asked = labels("ABABABAB")
    means = {s: (np.array([float(t)]), np.zeros(1)) for s, t in zip(asked.slides, asked.targets, strict=True)}
    turned = dict(reversed(means.items())) | {"not labelled": (np.ones(1), np.ones(1))}
    assert compare("scanner", asked, turned) == compare("scanner", asked, means)
    assert compare("scanner", asked, turned).before == 1.0


def test_three_groups_are_told_one_against_the_rest() -> None:
    asked = labels("ABC" * 6)
    assert told_apart(asked, np.eye(3)[asked.targets] * 10) == 1.0
