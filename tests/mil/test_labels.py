"""Labels: read as written, and every doubtful line is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import UsageError
from slidestream.mil.labels import Labels, order_classes, read_labels


def read(folder: Path, text: str | bytes) -> Labels:
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(path)


def test_columns_may_come_in_any_order_with_others_between(tmp_path: Path) -> None:
    labels = read(tmp_path, '\ufefflabel,note,slide,patient\r\nhigh,"a, b",s2,p1\r\n low ,,s1,p1\r\n')
    assert labels.slides == ("s1", "s2")
    assert labels.patients == ("p1", "p1")
    assert labels.classes == ("high", "low")
    np.testing.assert_array_equal(labels.targets, [1, 0])


def test_the_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    lines = ["b,p2,1", "a,p1,0", "c,p3,1"]
    texts = ["\n".join(["slide,patient,label", *order]) for order in (lines, lines[::-1])]
    assert read(tmp_path, texts[0]) == read(tmp_path, texts[1])


@pytest.mark.parametrize(
    ("found", "ordered"),
    [
        ({"10", "9", "0"}, ("0", "9", "10")),
        ({"1.5", "-2", "1e1"}, ("-2", "1.5", "1e1")),
        ({"10", "9", "x"}, ("10", "9", "x")),
        ({"nan", "1"}, ("1", "nan")),
    ],
)
def test_numeric_classes_ascend_by_value(found: set[str], ordered: tuple[str, ...]) -> None:
    assert order_classes(found) == ordered


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide,patient,label\na,p,0\n,p,1\n", "line 3: no slide"),
        ("slide,patient,label\na,,0\n", "line 2: no patient"),
        ("slide,patient,label\na,p\n", "line 2: no label"),
        ("slide,patient,label\na,p, \n", "line 2: no label"),
        ("slide,patient,label\na,p,0\nb,p,0\na,q,1\n", "line 4: slide a is already on line 2"),
        ("slide,label\na,0\n", "no column patient"),
        ("a,p,0\n", "no column slide, patient, label"),
        ("slide;patient;label\na;p;0\n", "separated by commas"),
        ("", "no column"),
        ("slide,patient,label\na,p,1\nb,q,1.0\n", "in two ways"),
        (b"slide,patient,label\na,p,\xff\n", "cannot be read"),
    ],
)
def test_a_doubtful_table_is_refused_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(tmp_path / "none.csv")
