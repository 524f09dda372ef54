"""Tables that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from slidestream.table import harmless, original, write_table


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
