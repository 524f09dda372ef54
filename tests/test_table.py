"""Tables that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from slidestream.errors import UsageError
from slidestream.table import Table, harmless, original, read_table, write_table


@pytest.mark.parametrize("cell", ["=cmd()", "+1+1", "-rf", "@SUM(A1)", "\tx", "\r=x", "'=cmd()", "''-5"])
def test_formulas_are_text_and_come_back(cell: str) -> None:
    assert harmless(cell) == "'" + cell
    assert original(harmless(cell)) == cell


@pytest.mark.parametrize("cell", ["a", "'quoted'", "-0.5", "1e-3", "+2", "", "<img onerror=x>", "a=b"])
def test_the_rest_is_left_alone(cell: str) -> None:
    assert harmless(cell) == cell
    assert original(cell) == cell


def test_numbers_stay_numbers() -> None:
    assert harmless(-0.25) == -0.25


def test_a_written_table_reads_back(tmp_path: Path) -> None:
    write_table(tmp_path / "sub/t.csv", ["slide", "p"], [["=1+1", -0.5], ["a,b\n", 1]])
    text = (tmp_path / "sub/t.csv").read_text()
    assert text.splitlines()[1] == "'=1+1,-0.5"
    rows = list(csv.DictReader((tmp_path / "sub/t.csv").open(newline="")))
    assert [original(row["slide"]) for row in rows] == ["=1+1", "a,b\n"]
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["t.csv"]


def read(folder: Path, text: str) -> Table:
    (folder / "t.csv").write_bytes(text.encode())
    return read_table(folder / "t.csv")


def test_what_was_written_is_read_again_with_its_lines(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["slide", "-note"], [["=1+1", 'a, "b"'], ["s2", "c"]])
    table = read_table(tmp_path / "t.csv")
    assert table.columns == ("slide", "-note")
    assert table.lines == ((2, {"slide": "=1+1", "-note": 'a, "b"'}), (3, {"slide": "s2", "-note": "c"}))


def test_spaces_marks_and_empty_lines_of_a_spreadsheet_say_nothing(tmp_path: Path) -> None:
    table = read(tmp_path, "\ufeff slide , label ,\r\n\r\n a , x ,,\r\n,,\r\nb\r\n")
    assert table.columns == ("slide", "label")
    assert table.lines == ((3, {"slide": "a", "label": "x"}), (5, {"slide": "b", "label": ""}))
    assert read(tmp_path, "").columns == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slide,label\na,ductal, in situ\n", "line 2 has 3 cells, the first line 2"),
        ("slide,label, label\na,x,y\n", "two columns called label"),
        ("slide;label\na;x\n", r"no column slide \(its first line: slide;label\).*"),
        ("slide,label\na,\udcff\n", "cannot be read"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=said):
        read_table(tmp_path / "t.csv").require(["slide"])
