"""Targets as they are asked for, and tables with gaps as numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import UsageError
from slidestream.mil.labels import Entry, Labels, read_targets
from slidestream.mil.outcomes import Known, Outcome, known_of, require_taught, strata, time_name
from slidestream.mil.target import Target, require_distinct

TARGETS = tuple(map(Target.parse, ["grade:link", "age:regression", "ihc:labels:er+pr", "time:cox:dead"]))
TABLE = """slide,patient,grade,age,er,pr,time,dead,note
a,p1,1,60.5,1,no,10,1,x
b,p2,2,,0,,12.5,0,
c,p3,10,71,,yes,7,,
d,p4,,55,,,,1,
e,p5,1,-3,yes,0,3,yes,
"""


def read(folder: Path, text: str, targets: tuple[Target, ...] = TARGETS) -> Labels:
    (folder / "labels.csv").write_text(text)
    return read_targets(folder / "labels.csv", targets)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("grade", Target("grade", "classes")),
        ("grade:corn", Target("grade", "corn")),
        ("time:hazard:event", Target("time", "hazard", ("event",))),
        ("er+pr+her2:labels", Target("er+pr+her2", "labels", ("er", "pr", "her2"))),
        ("ihc:labels:er+pr", Target("ihc", "labels", ("er", "pr"))),
    ],
)
def test_targets_are_asked_for_in_one_word(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert Target.from_dict(target.to_dict()) == target
    assert Target.parse(target.text) == target


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grade:coral", "no task 'coral'"),
        ("time:cox", "needs the column that says"),
        ("time:cox:a+b", "needs the column that says"),
        ("age:regression:b", "read from one column"),
        ("a:b:c:d", "is no target"),
        (":regression", "cannot be read from the columns"),
        ("er++pr:labels", "cannot be read from the columns"),
        ("patient", "cannot be read from the columns patient"),
        ("ihc:labels:er+er", "names a column twice"),
    ],
)
def test_what_is_no_target_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("+", r"\+")):
        Target.parse(text)
    with pytest.raises(UsageError, match="Two targets are called grade"):
        require_distinct((Target("grade"), Target("age", "regression"), Target("grade", "corn")))


def test_cells_become_numbers_and_gaps(tmp_path: Path) -> None:
    grade, age, ihc, time = known_of(read(tmp_path, TABLE), TARGETS)
    nan = np.nan
    assert grade.outcome.names == ("1", "2", "10")
    np.testing.assert_array_equal(grade.truth[:, 0], [0, 1, 2, nan, 0])
    np.testing.assert_array_equal(age.truth[:, 0], [60.5, nan, 71, 55, -3])
    assert ihc.outcome.names == ("er", "pr")
    np.testing.assert_array_equal(ihc.truth, [[1, 0], [0, nan], [nan, 1], [nan, nan], [1, 0]])
    np.testing.assert_array_equal(
        time.truth, [[10, 1], [12.5, 0], [nan, nan], [nan, nan], [3, 1]], "a time and its event, or neither"
    )
    assert [one.rows.tolist() for one in (grade, ihc)] == [
        [True] * 3 + [False, True],
        [True] * 3 + [False, True],
    ]
    assert [one.outcome.size for one in (grade, age, ihc)] == [3, 1, 2]
    assert [one.outcome.width for one in (grade, age, ihc, time)] == [1, 1, 2, 2]
    assert Outcome.from_dict(time.outcome.to_dict()) == time.outcome


def test_survival_is_asked_for_at_eighths_of_the_events(tmp_path: Path) -> None:
    lines = [f"s{i},p{i},{i + 1},{int(i % 2 == 0)}" for i in range(99)]
    target = Target.parse("time:hazard:dead")
    labels = read(tmp_path, "slide,patient,time,dead\n" + "\n".join(lines), (target,))
    (known,) = known_of(labels, (target,))
    seen = np.arange(1, 100, 2)
    np.testing.assert_allclose(known.outcome.times, np.quantile(seen, np.arange(1, 8) / 8), rtol=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("60.5", "old", "The age 'old' of slide a is no number"),
        ("60.5", "nan", "The age 'nan' of slide a is no number"),
        ("a,p1,1,60.5,1", "a,p1,1,60.5,2", "The er '2' of slide a is neither 1 nor 0"),
        (",7,,", ",-7,1,", "The time '-7' of slide c is no time"),
        ("a,p1,1", "a,p1,low", "order of 1, 10, 2, low is not known"),
        ("c,p3", "c,", "line 4: no patient"),
        ("slide,patient,grade,age", "slide,patient,grade,years", "no column age"),
    ],
)
def test_cells_that_say_nothing_possible_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TABLE
    with pytest.raises(UsageError, match=said):
        known_of(read(tmp_path, TABLE.replace(old, new)), TARGETS)


@pytest.mark.parametrize(
    ("target", "column", "said"),
    [
        ("x:regression", "3 3 3", "no two different numbers"),
        ("x", "3 3 3", "at least two classes; x has: 3"),
        ("x+y:labels", "1 1 0", "y is not known to be both"),
        ("y:cox:x", "0 0 0", "has no event"),
    ],
)
def test_a_target_without_contrast_is_refused(tmp_path: Path, target: str, column: str, said: str) -> None:
    rows = "".join(f"s{i},p{i},{cell},1\n" for i, cell in enumerate(column.split()))
    asked = (Target.parse(target),)
    with pytest.raises(UsageError, match=said):
        known_of(read(tmp_path, "slide,patient,x,y\n" + rows, asked), asked)


def test_a_single_class_must_be_known_of_every_slide(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 5: no grade"):
        read(tmp_path, TABLE, (Target("grade"),))


def test_folds_are_balanced_by_the_first_classes_or_the_first_target(tmp_path: Path) -> None:
    labels = read(tmp_path, TABLE)
    known = known_of(labels, TARGETS)
    assert [e.label for e in strata(labels, known, 2).entries] == ["1", "2", "10", "1", "1"]
    assert [e.values for e in strata(labels, known, 2).entries] == [e.values for e in labels.entries]
    grade, age, ihc, time = known
    assert [e.label for e in strata(labels, (age, ihc, time, grade), 2).entries][2] == "10"
    assert [e.label for e in strata(labels, (age, time), 2).entries] == [
        f"age part {part}" for part in (2, 1, 2, 1, 1)
    ]
    assert [e.label for e in strata(labels, (ihc,), 2).entries] == [
        f"er {word}" for word in ("yes", "no", "yes", "yes", "yes")
    ]


def test_survival_is_balanced_by_events_or_by_times_where_hardly_any_is_censored() -> None:
    def found(events: list[int]) -> list[str]:
        rows = [Entry(f"s{i:02}", f"p{i:02}", "", (str(i), str(e))) for i, e in enumerate(events)]
        labels = Labels.of(rows)
        return [e.label for e in strata(labels, known_of(labels, (TARGETS[3],)), 2).entries]

    assert found([1] * 6 + [0] * 4) == ["dead seen"] * 6 + ["dead not seen"] * 4
    for events in ([1] * 10, [0] + [1] * 9):
        assert found(events) == ["time part 1"] * 5 + ["time part 2"] * 5


@pytest.mark.parametrize("first", [0.0, 1.6e9, 1e28])
def test_times_of_survival_stay_apart_however_late_they_begin(first: float) -> None:
    """Of eight events 1 to 8 units apart, the eighths, to a thousandth of their range."""
    unit = max(1.0, first * 1e-9)
    cells = [(repr(first + unit * k), "1") for k in range(1, 9)]
    (known,) = known_of(Labels.of(Entry(f"s{i}", f"p{i}", "", c) for i, c in enumerate(cells)), TARGETS[3:])
    exact = np.quantile([float(time) for time, _ in cells], np.arange(1, 8) / 8)
    np.testing.assert_allclose(known.outcome.times, exact, rtol=0, atol=7e-3 * unit)
    assert [float(time_name(time)) for time in known.outcome.times] == pytest.approx(
        known.outcome.times, rel=1e-14
    )


@pytest.mark.parametrize(
    ("asked", "cell"), [("y:regression", "1e31"), ("y:regression", "-1e200"), ("y:cox:e", "1e31")]
)
def test_numbers_whose_squares_overflow_are_refused(asked: str, cell: str) -> None:
    labels = Labels.of(Entry(f"s{i}", f"p{i}", "", (y, "1")) for i, y in enumerate(["2", "3", cell]))
    with pytest.raises(UsageError, match="of slide s2 is no"):
        known_of(labels, (Target.parse(asked),))


def test_numbers_that_repeat_are_still_cut_into_even_parts() -> None:
    labels = Labels.of(Entry(f"s{i:03}", f"p{i:03}", "", (str(i // 90),)) for i in range(100))
    known = known_of(labels, (Target("x", "regression"),))
    found = strata(labels, known, 5)
    assert [sum(e.label == name for e in found.entries) for name in found.classes] == [25] * 4


@pytest.mark.parametrize(
    ("number", "train", "said"),
    [
        (0, "acde", "no slide of class 2"),
        (1, "ab", "no two different numbers"),
        (2, "ae", "er is not known to be both"),
        (3, "bcd", "no event"),
    ],
)
def test_a_head_is_not_trained_on_what_lacks_a_contrast(
    tmp_path: Path, number: int, train: str, said: str
) -> None:
    known = known_of(read(tmp_path, TABLE), TARGETS)[number]
    require_taught(known, np.ones(5, bool), "fold 1")
    with pytest.raises(UsageError, match=f"{said}.* the head of fold 1 learns from"):
        require_taught(known, np.array([slide in train for slide in "abcde"]), "fold 1")
    assert Known(known.outcome, known.truth).only(np.array([1])).truth.shape[0] == 1
