"""Answers in tables: written, read again, and refused where they are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import UsageError
from slidestream.mil.answers import cells_of, columns_of, outcome_in, read_answers, require_apart
from slidestream.mil.graded import read_graded, targets_of
from slidestream.mil.judged import Survived
from slidestream.mil.outcomes import Outcome
from slidestream.mil.survival_metrics import mortality
from slidestream.mil.target import Target
from slidestream.table import write_table

OUTCOMES = [
    Outcome(Target("grade", "link"), ("1", "2", "3")),
    Outcome(Target("age", "regression")),
    Outcome(Target("ihc", "labels", ("er", "pr")), ("er", "pr")),
    Outcome(Target("months", "cox", ("dead",)), (), (0.5, 12.0, 60.25)),
]
ANSWERS = [[0.4, 0.25, 0.35], [61.5], [0.9, 0.2], [0.99, 0.7, 0.4]]


@pytest.mark.parametrize("prefix", ["", "x."])
def test_columns_say_what_they_are(prefix: str) -> None:
    columns = [name for outcome in OUTCOMES for name in columns_of(outcome, prefix)]
    expected = [
        "predicted",
        "p_1",
        "p_2",
        "p_3",
        "predicted",
        "p_er",
        "p_pr",
        "risk",
        "s_0.5",
        "s_12",
        "s_60.25",
    ]
    assert columns == [prefix + name for name in expected]
    cells = [cells_of(outcome, np.array(a)) for outcome, a in zip(OUTCOMES, ANSWERS, strict=True)]
    assert cells[0] == ["2", 0.4, 0.25, 0.35], "the median grade"
    assert cells[1:3] == [[61.5], [0.9, 0.2]]
    assert cells[3] == [mortality(np.array([ANSWERS[3]]))[0], 0.99, 0.7, 0.4]


@pytest.mark.parametrize(("outcome", "answer"), list(zip(OUTCOMES, ANSWERS, strict=True)))
@pytest.mark.parametrize("several", [False, True])
def test_what_is_written_is_read_again(outcome: Outcome, answer: list[float], several: bool) -> None:
    prefix = f"{outcome.target.name}." if several else ""
    row = dict(zip(columns_of(outcome, prefix), map(str, cells_of(outcome, np.array(answer))), strict=True))
    found, begins = outcome_in(outcome.target, ["slide", *row])
    assert (found, begins) == (outcome, prefix)
    np.testing.assert_allclose(read_answers([row], found, begins), [answer])


@pytest.mark.parametrize(
    ("number", "change", "said"),
    [
        (2, {"p_er": "1.2"}, "not between 0 and 1"),
        (3, {"s_12": "-0.1"}, "not between 0 and 1"),
        (3, {"s_12": "late"}, "no number: 'late'"),
        (1, {"predicted": "inf"}, "not finite"),
        (0, {"p_2": "0.5"}, "do not sum to 1: a"),
    ],
)
def test_answers_that_are_none_are_refused(number: int, change: dict[str, str], said: str) -> None:
    outcome = OUTCOMES[number]
    cells = map(str, cells_of(outcome, np.array(ANSWERS[number])))
    row = dict(zip(columns_of(outcome), cells, strict=True)) | change | {"slide": "a"}
    with pytest.raises(UsageError, match=said):
        read_answers([row], outcome, "")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_table_that_does_not_answer_says_what_it_lacks(outcome: Outcome) -> None:
    with pytest.raises(UsageError, match=f"predictions of {outcome.target.name} have no columns"):
        outcome_in(outcome.target, ["slide", "other"])


def test_slides_without_a_known_truth_are_counted_not_judged(tmp_path: Path) -> None:
    write_table(
        tmp_path / "p.csv",
        ["slide", "risk", "s_1", "s_2"],
        [[s, 0.5, 0.8, 0.6] for s in "abcd"],
    )
    rows = [["a", "p", "3", "1"], ["b", "q", "2", ""], ["c", "r", "5", "0"], ["e", "t", "1", "1"]]
    write_table(tmp_path / "labels.csv", ["slide", "patient", "months", "dead"], rows)
    graded = read_graded(tmp_path / "p.csv", tmp_path / "labels.csv", Target("months", "hazard", ("dead",)))
    assert graded.slides == ("a", "c")
    assert isinstance(graded.predicted, Survived)
    assert graded.predicted.at.tolist() == [1, 2]
    assert graded.predicted.events.tolist() == [True, False]
    assert graded.without_truth == ("b", "d")
    assert graded.without_prediction == ("e",)
    assert targets_of(tmp_path) == (Target(),)
    write_table(tmp_path / "labels.csv", ["slide", "patient", "months", "dead"], [["a", "p", "", ""]])
    with pytest.raises(UsageError, match="Nothing is known of months"):
        read_graded(tmp_path / "p.csv", tmp_path / "labels.csv", Target("months", "hazard", ("dead",)))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_columns_of_the_truth_are_not_taken_for_answers(outcome: Outcome) -> None:
    """A stage in a column p_stage, a time in s_months: they stand in one table with what was predicted."""
    name = (
        outcome.target.name if outcome.target.task == "labels" else "s_months" if outcome.times else "p_stage"
    )
    target = replace(outcome.target, name=name)
    renamed = replace(outcome, target=target)
    assert outcome_in(target, [*target.columns, *columns_of(renamed)]) == (renamed, "")


@pytest.mark.parametrize(
    ("asked", "column"),
    [
        (["predicted:regression"], "predicted"),
        (["risk:cox:e"], "risk"),
        (["a", "a.predicted"], "a.predicted"),
        (["er+p_er:labels"], "p_er"),
    ],
)
def test_a_column_that_predictions_would_have_too_is_refused(asked: list[str], column: str) -> None:
    targets = [Target.parse(text) for text in asked]
    outcomes = [Outcome(t, t.more if t.task == "labels" else ("x", "y")) for t in targets]
    with pytest.raises(UsageError, match=f"column {column} would have the name"):
        require_apart(outcomes)
    require_apart(OUTCOMES)
