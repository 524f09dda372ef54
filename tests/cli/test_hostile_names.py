"""Names that trip shells, spreadsheets, terminals and file systems go through every command and come back."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slidestream.features.layout import list_stores, slide_id_of, store_path
from slidestream.features.store import open_store
from slidestream.table import write_table

Cli = Callable[..., Any]
Draw = Callable[..., Any]

OPTIONS = ["--encoder", "mean", "--patch-size", "64", "--mpp", "1", "--readers", "0"]
NAMES = [
    "two  spaces",
    "new\nline",
    "\u00e9t\u00e9",
    "e\u0301te\u0301",
    "\u00e9" * 125,
    "x" * 250,
    "-rf",
    "<img src=x onerror=alert(1)>",
    "=cmd()",
    "'=cmd()",
    "\u202egnp\x1b[2J",
    "CON%2F..\\..",
    "[bold]rich[",
    "dots..",
]
PADDING = ".tiff"


@pytest.fixture(scope="module")
def drawn(
    tmp_path_factory: pytest.TempPathFactory, write_slide: Draw, tissue_pixels: Draw
) -> Callable[[Path], Path]:
    """`drawn(path)` is a small slide at that path."""
    slide = write_slide(tmp_path_factory.mktemp("drawn") / "s.tiff", tissue_pixels(400), 0.5)

    def put(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(slide, path))

    return put


def rows(ended: Any, key: str) -> dict[str, dict[str, Any]]:
    return {row["slide_id"]: row for row in json.loads(ended.out)[key]}


@pytest.mark.usefixtures("mean_encoder")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_hostile_name_round_trips(
    cli: Cli, drawn: Callable[[Path], Path], tmp_path: Path, name: str
) -> None:
    """run, status, verify, the ledger made anew, and a manifest, all under the one name."""
    slides, run = tmp_path / "slides", tmp_path / "run"
    slide = drawn(slides / (name + PADDING))
    assert len(os.fsencode(slide.name)) <= 255
    ended = cli("run", slides, "-o", run, *OPTIONS, "--json")
    assert (ended.code, list(rows(ended, "outcomes"))) == (0, [name])
    (store,) = list_stores(run)
    assert store == store_path(run, name)
    assert (slide_id_of(store), open_store(store).slide_id) == (name, name)
    assert store.parent == run / "embeddings"
    assert len(store.name.encode()) < 255 - len("..partial")
    for command in (["status", run], ["status", run, "--rebuild"]):
        found = rows(cli(*command, "--json"), "inputs")
        assert {key: row["status"] for key, row in found.items()} == {name: "done"}
    assert json.loads(cli("verify", run, "--json").out)["problems"] == []
    manifest = tmp_path / "m.csv"
    write_table(manifest, ["path", "slide_id"], [[f"slides/{slide.name}", name]])
    for inputs in ([manifest], [slide], [slides]):
        ended = cli("run", *inputs, "-o", run, *OPTIONS, "--json")
        assert list(rows(ended, "up_to_date")) == [name]
    for command in (["status", run], ["verify", run], ["run", slides, "-o", run, *OPTIONS]):
        ended = cli(*command)
        assert ended.code == 0
        assert not {"\x1b", "\u202e"} & set(ended.out + ended.err)


@pytest.mark.usefixtures("mean_encoder")
def test_a_damaged_store_with_a_long_name_is_named_and_healed(
    cli: Cli, drawn: Callable[[Path], Path], tmp_path: Path
) -> None:
    name, run = "\u00e9" * 125, tmp_path / "run"
    drawn(tmp_path / "slides" / (name + PADDING))
    cli("run", tmp_path / "slides", "-o", run, *OPTIONS)
    (store_path(run, name) / "zarr.json").write_text("{")
    ended = cli("verify", run, "--json")
    assert (ended.code, list(rows(ended, "problems"))) == (4, [name])
    assert cli("run", tmp_path / "slides", "-o", run, *OPTIONS).code == 0
    assert list(rows(cli("status", run, "--json"), "inputs")) == [name]
    assert cli("verify", run).code == 0


@pytest.mark.usefixtures("mean_encoder")
def test_names_that_look_alike_have_a_store_each(
    cli: Cli, drawn: Callable[[Path], Path], tmp_path: Path
) -> None:
    """By case, by Unicode form, by folder, by suffix, and after the first 250 bytes of 300."""
    slides, run = tmp_path / "slides", tmp_path / "run"
    for name in ("Case", "case", "CASE", "caf\u00e9", "cafe\u0301"):
        drawn(slides / f"{name}.tiff")
    for place in ("sub/one.tiff", "sub/one.tif", "sub/deeper/one.tiff", "sub/one.tiff.tiff"):
        drawn(slides / place)
    long = ["sub/" + "\u00e9" * 120 + f"/{n}/same.tiff" for n in "ab"]
    for place in long:
        drawn(slides / place)
    ended = cli("run", slides, "-o", run, *OPTIONS, "--json")
    expected = {
        "Case",
        "case",
        "CASE",
        "caf\u00e9",
        "cafe\u0301",
        *long,
        "sub/one.tif",
        "sub/deeper/one.tiff",
    }
    assert set(rows(ended, "outcomes")) == expected | {"sub/one.tiff", "one.tiff"}
    assert ended.code == 0
    assert {slide_id_of(path) for path in list_stores(run)} == set(rows(ended, "outcomes"))
    assert unicodedata.normalize("NFC", "cafe\u0301") == "caf\u00e9"
    again = json.loads(cli("run", slides, "-o", run, *OPTIONS, "--json").out)
    assert again["outcomes"] == []
