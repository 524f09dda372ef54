"""A slide unlike the training slides is noticed, and slides like them are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from sklearn.neighbors import NearestNeighbors

from slidestream.mil.familiarity import NEIGHBOURS, TrainingBags
from slidestream.mil.standardise import Moments


def slides(count: int, seed: int, shift: float = 0.0, dim: int = 6) -> list[Moments]:
    """Moments of slides that differ from each other as those of a cohort do."""
    random = np.random.default_rng(seed)
    means, stds = random.normal(shift, 2, (count, dim)), random.uniform(0.5, 1.5, (count, dim))
    return [Moments(torch.from_numpy(m), torch.from_numpy(s**2)) for m, s in zip(means, stds, strict=True)]


def known(count: int, seed: int = 0) -> TrainingBags:
    return TrainingBags.of(slides(count, seed), np.arange(count) % 5)


def test_p_values_are_those_of_an_independent_nearest_neighbour_search() -> None:
    training, folds, (new,) = slides(40, 0), np.arange(40) % 5, slides(1, 1, shift=1.5)
    table = np.stack([torch.cat([m.mean, m.variance.sqrt()]).numpy() for m in [*training, new]])
    table /= table[:40].std(0)

    def kth(row: int, others: np.ndarray) -> float:
        search = NearestNeighbors(n_neighbors=NEIGHBOURS * len(others) // 40).fit(table[others])
        return float(search.kneighbors(table[[row]])[0][0, -1])

    own = np.array([kth(row, np.flatnonzero(folds != folds[row])) for row in range(40)])
    far = kth(40, np.arange(40))
    expected = (1 + (own >= far).sum()) / 41
    assert 1 / 41 < expected < 1, "else the comparison says little"
    assert TrainingBags.of(training, folds).familiarity(new) == pytest.approx(expected)


def test_slides_like_the_training_slides_have_p_values_as_promised() -> None:
    """Uniform but for their steps of 1 / 301, so that a share e of them is at most e."""
    training = known(300)
    found = np.array([training.familiarity(m) for m in slides(400, 5)])
    assert kstest(found, "uniform").pvalue > 0.01
    assert (found <= 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_another_scanner_is_noticed() -> None:
    training = known(60)
    assert all(training.familiarity(m) == 1 / 61 for m in slides(10, 7, shift=12))


def test_a_patient_does_not_make_its_own_slides_look_familiar() -> None:
    """Six slides of one odd patient, in one fold: each is far from all others, near to its siblings."""
    odd = slides(6, 3, shift=30)
    moments = [*slides(60, 0), *odd]
    folds = np.array([*(np.arange(60) % 4), *[4] * 6])
    training = TrainingBags.of(moments, folds)
    assert [training.familiarity(m, folds=[4]) for m in odd] == pytest.approx([7 / 67] * 6, abs=6 / 67)
    assert training.own[60:].min() > training.own[:60].max()
    blind = TrainingBags.of(moments, np.arange(66) % 5)
    assert np.median(blind.own[60:]) < training.own[60:].min()


def test_a_column_that_never_varied_is_ignored() -> None:
    moments = [Moments(torch.tensor([i * 1.0, 4.0]), torch.tensor([1.0, 0.0])) for i in range(20)]
    training = TrainingBags.of(moments, np.arange(20) % 5)
    moved = Moments(torch.tensor([9.0, 5.0]), torch.tensor([1.0, 0.0]))
    assert training.familiarity(moved) > 0.5


def test_of_a_large_cohort_a_part_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slidestream.mil.familiarity.MOST", 50)
    training = known(500)
    assert training.summaries.shape == (50, 12)
    again = TrainingBags.from_tensors(training.tensors())
    new = slides(1, 9)[0]
    assert again.familiarity(new) == training.familiarity(new)
