"""Splits made elsewhere: tables of folds, and of train, val and test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import UsageError
from slidestream.mil.given import named, plan_given, read_given
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.plan import Plan
from slidestream.mil.spec import TrainSpec

LABELS = Labels.of(Entry(f"s{n:02}", f"p{n // 2}", str(n // 2 % 2)) for n in range(24))
"""Twelve patients of two slides."""


def slides(plan: Plan, part: str) -> list[list[str]]:
    names = np.array(LABELS.slides)
    return [names[getattr(split, part)].tolist() for split in plan.splits]


def by_patient(fold_of: dict[int, str]) -> str:
    return "patient,fold\n" + "".join(f"p{p},{fold}\n" for p, fold in fold_of.items())


def test_a_table_of_folds_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    path.write_text(by_patient({p: f"{p // 2 % 3}" for p in range(12)}))
    plan = plan_given(LABELS, read_given(path), TrainSpec())
    assert [split.name for split in plan.splits] == ["0", "1", "2"]
    assert plan.repeats.tolist() == [0, 0, 0]
    for number, split in enumerate(plan.splits):
        expected = [p // 2 % 3 == number for p in range(12) for _ in range(2)]
        assert split.held_out.tolist() == expected
        assert split.validation.any()
        assert not (split.validation & split.held_out).any()
        assert (split.train | split.validation | split.held_out).all()
    path.write_text("fold,slide\n" + "".join(f"{n // 4 % 3},s{n:02}\n" for n in range(24)))
    assert plan_given(LABELS, read_given(path), TrainSpec()).facts() == plan.facts()


def write_parts(path: Path, **parts: list[str]) -> None:
    """As CLAM keeps them: an unnamed first column, and shorter columns filled with nothing."""
    longest = max(map(len, parts.values()))
    filled = [names + [""] * (longest - len(names)) for names in parts.values()]
    lines = [f"{i}," + ",".join(cells) for i, cells in enumerate(zip(*filled, strict=True))]
    path.write_text("\n".join(["," + ",".join(parts), *lines]) + "\n")


def test_train_val_and_test_of_several_files_may_overlap(tmp_path: Path) -> None:
    names = list(LABELS.slides)
    write_parts(tmp_path / "splits_10.csv", train=names[:12], val=names[12:16], test=names[16:24])
    write_parts(tmp_path / "splits_2.csv", train=names[8:20], val=names[4:8], test=names[20:])
    (tmp_path / "splits_2_bool.csv").write_text("not,this\n")
    plan = plan_given(LABELS, read_given(tmp_path), TrainSpec())
    assert [split.name for split in plan.splits] == ["splits_2", "splits_10"]
    assert slides(plan, "train") == [names[8:20], names[:12]]
    assert slides(plan, "validation") == [names[4:8], names[12:16]]
    assert slides(plan, "held_out") == [names[20:], names[16:24]]
    assert plan.repeats.tolist() == [0, 1]  # the same slides are held out twice
    assert plan.heads_of(20) == (0, 1)
    assert plan.heads_of(0) == ()


def test_slides_that_no_split_names_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    write_parts(path, train=[f"p{p}" for p in range(6)], test=["p6", "p7", "absent"])
    given = read_given(path)
    assert named(LABELS, given).slides == LABELS.slides[:16]
    plan = plan_given(named(LABELS, given), given, TrainSpec())
    assert plan.repeats.tolist() == [0]
    assert plan.splits[0].validation.any()


def test_slides_become_patients_where_bags_are_of_patients(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    names = list(LABELS.slides)
    write_parts(path, train=names[:16], test=names[16:])
    (given,) = read_given(path)
    expected = {f"p{p}": "train" if p < 8 else "test" for p in range(12)}
    assert given.by_patient(LABELS).part == expected
    write_parts(path, train=names[:15], test=names[15:])
    with pytest.raises(UsageError, match="Patient p7 is in train and in test"):
        read_given(path)[0].by_patient(LABELS)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("slide,part\ns00,1\n", r"columns slide, part.*fold and slide or patient"),
        ("slide,fold\ns00,1\ns00,2\n", "slide s00 in two folds"),
        ("slide,fold\ns00,\n", "without slide or fold"),
        ("slide,fold\ns00,1\ns02,1\n", "only one fold"),
        ("slide,fold\ns00,1\ns01,2\n", "Patient p0 is in test and in train"),
        ("train,test\ns00,s00\n", "s00 in train and in test"),
        ("train,val\ns00,s02\n", "no column test"),
        ("train,test\nelse,s00\n", "has no train slide"),
        ("train,test\ns00,else\ns02,\ns04,\ns06,\n", "has no test slide"),
        ("train,val,test\ns00,s02,s04\n", "no slide of class 1 to learn from"),
        ("train,test\ns00,s04\ns02,\n", r"Without split given, 1 patients of class 0"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "given.csv").write_text(text)
    with pytest.raises(UsageError, match=match):
        plan_given(LABELS, read_given(tmp_path / "given.csv"), TrainSpec())
    with pytest.raises(UsageError, match="cannot be read"):
        read_given(tmp_path / "absent.csv")
    with pytest.raises(UsageError, match="holds no file such as splits_0"):
        read_given(tmp_path)
