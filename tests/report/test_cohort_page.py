"""The page of a cohort, read back by a parser of HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from slidestream.report.cohort_page import write_cohort_page


class Failed(NamedTuple):
    slide_id: str
    code: str
    cause: str
    fix: str


class Cells(HTMLParser):
    """Text of every row of cells, sources of pictures, and every tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.pictures: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.pictures.append(unquote(dict(attrs)["src"] or ""))

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1] += data


def test_names_are_text_whatever_they_say(tmp_path: Path) -> None:
    name = '<script>x</script>"&\n'
    rows = [
        ("%3C.png", {"slide_id": name, "tissue_mm2": 1.5}),
        ("b c.png", {"slide_id": "b", "tissue_mm2": 2.0, "ok": 3}),
    ]
    write_cohort_page(tmp_path / "index.html", rows, [Failed(name, "MPP_MISSING", "No mpp.", "Give it.")])
    page = Cells((tmp_path / "index.html").read_text(encoding="utf-8"))
    shown = '<script>x</script>"&\\n'
    assert "script" not in page.tags
    assert page.rows == [
        ["slide", "code", "cause", "fix"],
        [shown, "MPP_MISSING", "No mpp.", "Give it."],
        ["", "slide id", "tissue mm2", "ok"],
        ["", shown, "1.5", ""],
        ["", "b", "2.0", "3"],
    ]
    assert page.pictures == ["%3C.png", "b c.png"]
