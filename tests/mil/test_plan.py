"""Repeated folds, sites that are left out or kept whole: who teaches and who judges."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from slidestream.errors import UsageError
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.plan import Plan
from slidestream.mil.sites import even_division, site_of_patients, unevenness
from slidestream.mil.spec import SplitSpec, TrainSpec
from slidestream.mil.splits import assign_folds, plan_folds, validation_part


def cohort(patients: int = 40, sites: int = 8) -> tuple[Labels, dict[str, str]]:
    """Two slides of each patient; every site has both classes."""
    entries = [Entry(f"s{p:03}-{i}", f"p{p}", str(p // sites % 2)) for p in range(patients) for i in range(2)]
    return Labels.of(entries), {f"p{p}": f"site {p % sites}" for p in range(patients)}


def sides(plan: Plan, keys: tuple[str, ...]) -> list[tuple[set[str], set[str], set[str]]]:
    names = np.array(keys)
    return [(set(names[s.train]), set(names[s.validation]), set(names[s.held_out])) for s in plan.splits]


def test_a_single_repeat_is_the_division_that_it_was() -> None:
    labels, _ = cohort()
    plan = plan_folds(labels, TrainSpec(folds=4, seed=3))
    fold = assign_folds(labels, 4, 3)
    for number, split in enumerate(plan.splits):
        np.testing.assert_array_equal(split.held_out, fold == number)
        inside = Labels(tuple(labels.entries[i] for i in np.flatnonzero(fold != number)), labels.classes)
        np.testing.assert_array_equal(split.validation[fold != number], validation_part(inside, 3, 5))


def test_every_repeat_divides_all_slides_anew() -> None:
    labels, _ = cohort()
    plan = plan_folds(labels, TrainSpec(folds=4, split=SplitSpec(repeats=3)))
    assert len(plan.splits) == 12
    assert plan.repeats.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    divisions = [plan.held_out[plan.repeats == repeat] for repeat in range(3)]
    for division in divisions:
        assert (division.sum(0) == 1).all()
    assert not np.array_equal(divisions[0].argmax(0), divisions[1].argmax(0))
    assert [len(plan.heads_of(slide)) for slide in range(80)] == [3] * 80
    for train, validation, held_out in sides(plan, labels.patients):
        assert not train & validation
        assert not (train | validation) & held_out
        assert train | validation | held_out == set(labels.patients)
    again = plan_folds(labels, TrainSpec(folds=4, split=SplitSpec(repeats=3)))
    assert again.facts() == plan.facts()
    assert plan_folds(labels, TrainSpec(folds=4, seed=1, split=SplitSpec(repeats=3))).facts() != plan.facts()


@pytest.mark.parametrize("split", [SplitSpec(leave_out="site"), SplitSpec(keep_together="site")])
def test_sites_are_on_one_side_only_also_of_validation(split: SplitSpec) -> None:
    labels, site_of = cohort()
    plan = plan_folds(labels, TrainSpec(folds=4, split=split), site_of)
    assert (plan.held_out.sum(0) == 1).all()
    for train, validation, held_out in sides(plan, plan.sites):
        assert train
        assert validation
        assert held_out
        assert not train & validation
        assert not (train | validation) & held_out
    if split.leave_out:
        assert [s.name for s in plan.splits] == [f"site {k}" for k in range(8)]
        assert [held_out for _, _, held_out in sides(plan, plan.sites)] == [{s.name} for s in plan.splits]
    else:
        for one in plan.splits:  # 8 equal sites in 4 folds: perfectly even
            assert np.bincount(labels.targets[one.held_out]).tolist() == [12, 8]


def test_with_two_sites_validation_keeps_patients_whole() -> None:
    labels, site_of = cohort(sites=2)
    plan = plan_folds(labels, TrainSpec(split=SplitSpec(leave_out="site")), site_of)
    assert len(plan.splits) == 2
    for train, validation, held_out in sides(plan, labels.patients):
        assert train
        assert validation
        assert not train & validation
        assert not (train | validation) & held_out


def brute_force(shares: np.ndarray, folds: int) -> float:
    return min(
        unevenness(shares, np.array(fold), folds) for fold in product(range(folds), repeat=len(shares))
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_division_of_sites_is_the_best_of_all(seed: int) -> None:
    """Every division of up to seven sites is tried."""
    random = np.random.default_rng(seed)
    folds = 2 + seed % 2
    counts = random.integers(0, 30, (random.integers(folds, 8), 3)) + (random.random((1, 3)) < 0.5)
    counts = counts + (counts.sum(0) == 0)
    shares = counts / counts.sum(0)
    found = even_division(counts, folds, seed)
    assert unevenness(shares, found, folds) == pytest.approx(brute_force(shares, folds), abs=1e-12)


def test_many_sites_are_nearly_even_and_none_is_empty() -> None:
    random = np.random.default_rng(0)
    counts = np.ceil(random.pareto(2.5, (60, 3)) * 8).astype(np.int64)
    fold = even_division(counts, 5, 0)
    assert set(fold.tolist()) == set(range(5))
    shares = np.array([counts[fold == k].sum(0) / counts.sum(0) for k in range(5)])
    assert abs(shares - 0.2).max() < 0.01


def test_what_cannot_be_split_by_site_says_why() -> None:
    labels, site_of = cohort(sites=3)
    with pytest.raises(UsageError, match=r"site has 3 different values, too few for 5 .*most 3 folds"):
        plan_folds(labels, TrainSpec(folds=5, split=SplitSpec(keep_together="site")), site_of)
    one = dict.fromkeys(site_of, "A")
    with pytest.raises(UsageError, match="1 different values, too few for 2 folds"):
        plan_folds(labels, TrainSpec(split=SplitSpec(leave_out="site")), one)
    # All patients of class 1 are at one site: without it there is nothing to learn.
    apart = {e.patient: f"site {e.label}" if e.label == "1" else f"x{e.patient}" for e in labels.entries}
    with pytest.raises(UsageError, match="Without site 1, 0 patients of class 1 are left"):
        plan_folds(labels, TrainSpec(split=SplitSpec(leave_out="site")), apart)


def test_the_site_of_a_patient_is_one_and_known() -> None:
    labels = Labels.of([Entry("a", "p", "0"), Entry("b", "p", "1")])
    rows = {"a": {"slide": "a", "site": "X"}, "b": {"slide": "b", "site": "X"}}
    assert site_of_patients(labels, rows, "site") == {"p": "X"}
    with pytest.raises(UsageError, match=r"no column centre.*slide, site"):
        site_of_patients(labels, rows, "centre")
    with pytest.raises(UsageError, match="Slide b has no site"):
        site_of_patients(labels, rows | {"b": {"site": ""}}, "site")
    with pytest.raises(UsageError, match="Patient p is in two groups of site: X and Y"):
        site_of_patients(labels, rows | {"b": {"site": "Y"}}, "site")


@pytest.mark.parametrize(
    "wrong",
    [
        {"repeats": 0},
        {"leave_out": "a", "keep_together": "b"},
        {"given": "x.csv", "leave_out": "a"},
        {"given": "x.csv", "repeats": 2},
        {"leave_out": "a", "repeats": 2},
    ],
)
def test_splits_that_contradict_each_other_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        SplitSpec(**wrong)
