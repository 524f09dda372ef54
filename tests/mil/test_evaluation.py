"""Tables joined, groups, comparisons and decision curves, against hand-made cases and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from slidestream.errors import UsageError
from slidestream.mil.evaluation import (
    EvaluationSpec,
    Group,
    compare,
    decision_curve,
    evaluate_graded,
    gaps,
    groups_of,
    lacking,
)
from slidestream.mil.graded import Graded, read_graded
from slidestream.mil.metrics import Estimate
from slidestream.mil.target import Target
from slidestream.table import write_table

SPEC = EvaluationSpec(resamples=200, min_group=5)


def write_predictions(path: Path, slides: list[str], p: np.ndarray, classes: list[str]) -> Path:
    columns = ["slide", "predicted", *(f"p_{name}" for name in classes)]
    rows = [[s, classes[int(v.argmax())], *(f"{x:.9g}" for x in v)] for s, v in zip(slides, p, strict=True)]
    write_table(path, columns, rows)
    return path


def cohort(tmp_path: Path, skill: float = 1.5, seed: int = 0, name: str = "p.csv", n: int = 120) -> Graded:
    """Two slides per patient, two sites; site B is graded by chance."""
    random = np.random.default_rng(7)
    targets = random.integers(0, 2, n // 2).repeat(2)
    site = np.where(np.arange(n // 2) % 2, "B", "A").repeat(2)
    noise = np.random.default_rng(seed).normal(size=n)
    score = 1 / (1 + np.exp(-(np.where(site == "A", skill * (2 * targets - 1), 0) + noise)))
    slides = [f"s{i:03d}" for i in range(n)]
    path = write_predictions(tmp_path / name, slides, np.stack([1 - score, score], 1), ["low", "high"])
    age = np.linspace(30, 89.5, n // 2).repeat(2)
    rows = [
        [slides[i], f"p{i // 2}", ["low", "high"][targets[i]], site[i], f"{age[i]:g}", "" if i % 3 else "x"]
        for i in range(n)
    ]
    write_table(tmp_path / "labels.csv", ["slide", "patient", "label", "site", "age", "note"], rows)
    return read_graded(path, tmp_path / "labels.csv")


def test_metrics_are_those_of_the_joined_table_whatever_its_order(tmp_path: Path) -> None:
    graded = cohort(tmp_path)
    found = evaluate_graded(graded, SPEC)
    p = graded.predicted
    assert found["auroc"].value == pytest.approx(roc_auc_score(p.targets, p.probabilities[:, 1]))
    assert set(found) == {
        *("auroc", "auprc", "balanced_accuracy", "f1", "quadratic_kappa", "brier", "calibration_error"),
        "sensitivity_at_90_specificity",
    }
    assert found["auroc"].low is not None
    assert found["auroc"].high is not None
    assert found["auroc"].low < found["auroc"].value < found["auroc"].high
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert evaluate_graded(read_graded(tmp_path / "p.csv", tmp_path / "labels.csv"), SPEC) == found


def test_groups_are_evaluated_apart_and_the_gap_is_named(tmp_path: Path) -> None:
    graded = cohort(tmp_path)
    a, b = groups_of(graded, "site", SPEC)
    assert (a.value, a.slides, a.patients, b.value) == ("A", 60, 30, "B")
    rows = np.array([row["site"] == "A" for row in graded.facts])
    truth, score = graded.predicted.targets[rows], graded.predicted.probabilities[rows, 1]
    assert a.estimates["auroc"].value == pytest.approx(roc_auc_score(truth, score))
    assert a.estimates["auroc"].value > 0.9
    assert b.estimates["auroc"].value < 0.7
    expected = a.estimates["auroc"].value - b.estimates["auroc"].value
    assert gaps([a, b])["auroc"] == pytest.approx(expected)


def test_numbers_of_many_values_are_cut_into_bands(tmp_path: Path) -> None:
    bands = groups_of(cohort(tmp_path), "age", SPEC)
    assert [group.slides for group in bands] == [30, 30, 30, 30]
    assert bands[0].value.startswith("[30, ")
    assert bands[-1].value.endswith(", 89.5]")


def test_small_groups_are_counted_but_not_judged(tmp_path: Path) -> None:
    spec = EvaluationSpec(resamples=50, min_group=31)
    found = groups_of(cohort(tmp_path), "site", spec)
    assert [(group.slides, group.estimates) for group in found] == [(60, {}), (60, {})]
    assert gaps(found) == {}
    with pytest.raises(UsageError, match="no column scanner"):
        groups_of(cohort(tmp_path), "scanner", spec)


def test_missing_values_are_a_group_of_their_own(tmp_path: Path) -> None:
    assert [(g.value, g.slides) for g in groups_of(cohort(tmp_path), "note", SPEC)] == [
        ("(none)", 80),
        ("x", 40),
    ]


def test_a_better_head_is_told_from_an_equal_one(tmp_path: Path) -> None:
    ours, worse = cohort(tmp_path, 3.0), cohort(tmp_path, 0.2, 1, "worse.csv")
    better = compare(ours, worse, SPEC)["auroc"]
    p, q = ours.predicted, worse.predicted
    expected = roc_auc_score(p.targets, p.probabilities[:, 1]) - roc_auc_score(
        q.targets, q.probabilities[:, 1]
    )
    assert better.value == pytest.approx(expected)
    assert better.low is not None
    assert better.low > 0
    assert better.p == pytest.approx(2 / 201)
    same = compare(ours, ours, SPEC)["auroc"]
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_chance_differences_are_rarely_called_real(tmp_path: Path) -> None:
    """Two heads of equal skill and other noise: p below 0.05 in about one of twenty cohorts."""
    spec = EvaluationSpec(resamples=100)
    called = 0
    for seed in range(40):
        pair = [cohort(tmp_path, 1.0, 2 * seed + i, f"{i}.csv", n=80) for i in range(2)]
        called += (compare(*pair, spec)["auroc"].p or 1) < 0.05
    assert called <= 7  # of a binomial with 40 draws at 0.05, more than that in 1 of 1,000


def test_net_benefit_by_hand(tmp_path: Path) -> None:
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    write_predictions(tmp_path / "p.csv", list("abcd"), p, ["low", "high"])
    rows = [[s, s, label] for s, label in zip("abcd", ["low", "low", "high", "high"], strict=True)]
    write_table(tmp_path / "labels.csv", ["slide", "patient", "label"], rows)
    graded = read_graded(tmp_path / "p.csv", tmp_path / "labels.csv")
    ((_, benefit, everyone),) = decision_curve(graded, np.array([0.5]))
    assert benefit == pytest.approx((2 - 1) / 4)
    assert everyone == pytest.approx(0.5 - 0.5)
    ((_, benefit, everyone),) = decision_curve(graded, np.array([0.75]))
    assert benefit == pytest.approx((1 - 0) / 4)
    assert everyone == pytest.approx(0.5 - 3 * 0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("label", "middle"), "is none of low, high"),
        (("p_high", "0.9"), "do not sum to 1: a"),
        (("p_high", "nan"), "do not sum to 1"),
        (("p_high", "much"), "no number"),
        (("predicted", "neither"), "neither the likeliest class"),
        (("slide", "b"), "line 3 holds slide b again"),
        (("slide", ""), "line 2 holds no slide"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    columns = ["slide", "patient", "label", "predicted", "p_low", "p_high"]
    first = dict(zip(columns, ["a", "1", "low", "low", "0.7", "0.3"], strict=True)) | dict([change])
    write_table(
        tmp_path / "predictions.csv",
        columns,
        [list(first.values()), ["b", "2", "high", "high", "0.2", "0.8"]],
    )
    with pytest.raises(UsageError, match=said):
        read_graded(tmp_path)


def test_median_grades_are_recognised(tmp_path: Path) -> None:
    """Of (0.4, 0.25, 0.35) the likeliest class is the first, the median the second."""
    columns = ["slide", "patient", "label", "predicted", "p_1", "p_2", "p_3"]
    rows = [
        ["a", "1", "1", "2", 0.4, 0.25, 0.35],
        ["b", "2", "3", "3", 0.1, 0.2, 0.7],
        ["c", "3", "2", "2", 0, 1, 0],
    ]
    write_table(tmp_path / "predictions.csv", columns, rows)
    assert read_graded(tmp_path).predicted.ordered


def test_a_class_without_slides_costs_only_the_metrics_that_need_it(tmp_path: Path) -> None:
    """A cohort from elsewhere lacks grade 3; the rest is as scikit-learn has it."""
    random = np.random.default_rng(0)
    truth, p = random.integers(1, 3, 60), random.dirichlet(np.ones(3), 60)
    path = write_predictions(tmp_path / "p.csv", [f"s{i}" for i in range(60)], p, ["1", "2", "3"])
    rows = [[f"s{i}", f"p{i}", str(t), "AB"[i % 2] if i else "C"] for i, t in enumerate(truth)]
    write_table(tmp_path / "labels.csv", ["slide", "patient", "label", "site"], rows)
    graded = read_graded(path, tmp_path / "labels.csv")
    found, given = evaluate_graded(graded, SPEC), p.argmax(1) + 1
    assert lacking(graded) == "No slide has the label 3: there is no AUROC, among others."
    assert set(found) == {"balanced_accuracy", "f1", "quadratic_kappa", "brier", "calibration_error"}
    recalls = [(given[truth == grade] == grade).mean() for grade in (1, 2)]
    assert found["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    assert found["quadratic_kappa"].value == pytest.approx(
        cohen_kappa_score(truth, given, weights="quadratic")
    )
    assert found["quadratic_kappa"].resamples == 200
    *sites, alone = groups_of(graded, "site", SPEC)
    assert [len(group.estimates) for group in sites] == [5, 5]
    assert alone.estimates == {}
    assert set(gaps([*sites, alone])) == set(found)
    other = write_predictions(tmp_path / "q.csv", list(graded.slides), np.eye(3)[[0] * 60], ["1", "2", "3"])
    less = compare(graded, read_graded(other, tmp_path / "labels.csv"), SPEC)
    assert set(less) == set(found)
    assert less["balanced_accuracy"].value == pytest.approx(np.mean(recalls) - 0.5)


def test_of_a_single_class_there_is_no_agreement_beyond_chance(tmp_path: Path) -> None:
    columns = ["slide", "patient", "label", "predicted", "p_low", "p_high"]
    rows = [["a", "1", "low", "low", 0.7, 0.3], ["b", "2", "low", "high", 0.4, 0.6]]
    write_table(tmp_path / "predictions.csv", columns, rows)
    found = evaluate_graded(read_graded(tmp_path), SPEC)
    assert set(found) == {"balanced_accuracy", "f1", "brier", "calibration_error"}
    assert found["balanced_accuracy"].value == 0.5


def test_labels_that_are_never_there_cannot_be_judged(tmp_path: Path) -> None:
    rows = [["a", "1", "0", 0.7], ["b", "2", "0", 0.2]]
    write_table(tmp_path / "predictions.csv", ["slide", "patient", "er", "p_er"], rows)
    with pytest.raises(UsageError, match="Every known value of er is the same"):
        evaluate_graded(read_graded(tmp_path, None, Target.parse("er:labels")), SPEC)


def test_means_over_other_classes_make_no_gap() -> None:
    def group(**values: float) -> Group:
        return Group("", 9, 9, {name: Estimate(value, None, None, 0) for name, value in values.items()})

    whole = [group(auroc=0.9, f1=0.5, brier=0.2), group(auroc=0.7, f1=0.4, brier=0.1)]
    found = gaps([*whole, group(f1=0.9, brier=0.5)])
    assert found == {"auroc": pytest.approx(0.2), "f1": pytest.approx(0.1), "brier": pytest.approx(0.4)}
    assert gaps([group(f1=0.9), group(f1=0.5)]) == {"f1": pytest.approx(0.4)}
