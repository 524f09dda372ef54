"""`stain-report`: on slides and on run folders; what it shows is what a run would encode."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input, find_inputs
from slidestream.cohort.staining import LOOKED_AT, StainLook, look_at, looks
from slidestream.errors import SlidestreamError
from slidestream.features.store import open_store
from slidestream.report.contact import CELL, GAP, TEXT
from slidestream.report.stain_effect import normalised
from slidestream.stain.reference import reference
from slidestream.tiling.spec import PatchSpec

from ..he_slides import PALER, PURPLE, SIDE, he_slide, write_stainings

Cli = Callable[..., Any]
PATCH_PX = 64
CONFIG = RunConfig(patch=PatchSpec(PATCH_PX, 1.0))


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path]) -> Path:
    """Two stainings, one in grey, one without mpp."""
    folder = write_stainings(tmp_path / "slides", write_slide)
    write_slide(folder / "no-mpp.tiff", he_slide(PURPLE), None)
    return folder


def table(folder: Path) -> dict[str, dict[str, str]]:
    rows = csv.DictReader((folder / "stain.csv").read_text().splitlines())
    return {row["slide"]: row for row in rows}


def stains(row: dict[str, Any]) -> list[list[float]]:
    return [[float(row[f"{stain}_{c}"]) for c in "rgb"] for stain in ("haematoxylin", "eosin")]


def test_patches_are_those_that_openslide_reads(slides: Path) -> None:
    look = look_at(Input("a", str(slides / "a.tiff")), CONFIG, "macenko")
    assert 10 < len(look.patches) <= LOOKED_AT
    with openslide.OpenSlide(slides / "a.tiff") as slide:
        corners = range(0, SIDE - PATCH_PX + 1, PATCH_PX)
        read = [
            np.asarray(slide.read_region((x, y), 0, (PATCH_PX,) * 2))[..., :3].tobytes()
            for y in corners
            for x in corners
        ]
    found = [read.index(patch.tobytes()) for patch in look.patches]
    assert sorted(set(found)) == found, "each once, in the order of the grid"


@pytest.mark.usefixtures("in_this_process")
def test_after_is_the_fit_that_a_run_stores(cli: Cli, slides: Path, tmp_path: Path) -> None:
    """Least squares and exponentials on the fit in the store give what the report shows."""
    run = tmp_path / "run"
    options = [
        "--encoder",
        "null",
        "--patch-size",
        PATCH_PX,
        "--mpp",
        1,
        "--stain",
        "macenko",
        "--readers",
        0,
    ]
    assert cli("run", slides / "b.tiff", "-o", run, *options).code == 0
    stored = open_store(run / "embeddings/b.zarr").attributes["stain_fit"]
    ended = cli("stain-report", run, "-o", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    (row,) = json.loads(ended.out)["slides"]
    assert stains(row) == stored["stains"]
    assert [row["haematoxylin_strength"], row["eosin_strength"]] == stored["strengths"]
    look = look_at(Input("b", str(slides / "b.tiff")), CONFIG, "macenko")
    target = reference("macenko")
    amounts = -np.log((look.patches + 1.0) / 240) @ np.linalg.pinv(np.array(stored["stains"]))
    scaled = amounts * np.array(target.strengths) / np.array(stored["strengths"])
    expected = (240 * np.exp(-scaled @ np.array(target.stains)) - 1).round().clip(0, 255)
    after = normalised(look.fit, target, look.patches)
    blank = (look.patches >= 206).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(after[~blank], expected[~blank])
    sheet = np.asarray(Image.open(tmp_path / "out/contact-sheet-001.png")).astype(float)
    cell = sheet[GAP + TEXT : GAP + TEXT + CELL, GAP : GAP + CELL].reshape(2, CELL // 2, 2, CELL // 2, 3)
    shown = cell[:, 1:-1, :, 1:-1].mean(axis=(1, 3))
    for before, beside in shown:
        which = np.abs(look.patches.mean(axis=(1, 2)) - before).max(axis=1).argmin()
        np.testing.assert_allclose(before, look.patches[which].mean(axis=(0, 1)), atol=1)
        np.testing.assert_allclose(beside, after[which].mean(axis=(0, 1)), atol=1)


@pytest.mark.usefixtures("in_this_process")
def test_every_slide_is_shown_refused_or_failed(cli: Cli, slides: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = cli("stain-report", slides, "-o", out, "--json")
    assert ended.code == 3
    told = json.loads(ended.out)
    assert [(one["slide_id"], one["code"]) for one in told["failures"]] == [("no-mpp", "MPP_MISSING")]
    assert told["told_apart"] is None
    rows = table(out)
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "a": "normalised", "b": "normalised", "grey": "not normalised", "no-mpp": "failed",
    }  # fmt: skip
    for name, drawn in (("a", PURPLE), ("b", PALER)):
        unit = np.array(drawn) / np.linalg.norm(drawn, axis=1, keepdims=True)
        assert np.degrees(np.arccos((np.array(stains(rows[name])) * unit).sum(axis=1))).max() < 3
    assert "not haematoxylin and eosin" in rows["grey"]["cause"]
    assert rows["grey"]["eosin_r"] == ""
    assert rows["no-mpp"]["cause"].startswith("MPP_MISSING")
    page = (out / "stain.html").read_text()
    assert "4 slides by macenko: 2 normalised, 1 not normalised, 1 failed." in page
    assert "MPP_MISSING" in page
    assert {path.name for path in out.iterdir()} == {"stain.html", "stain.csv", "contact-sheet-001.png"}
    plain = cli("stain-report", slides / "grey.tiff", "-o", out)
    assert plain.code == 0, "a refused stain is a finding, not a failure"
    assert "1 slides by macenko: 0 normalised, 1 not normalised, 0 failed." in plain.out


@pytest.mark.usefixtures("in_this_process")
def test_another_method_and_target(cli: Cli, slides: Path, tmp_path: Path) -> None:
    """Normalised to look like itself, a slide stays what it is."""
    options = ["--stain", "reinhard", "--stain-target", slides / "a.tiff", "--set", "patch.size_px=64"]
    ended = cli("stain-report", slides / "a.tiff", "-o", tmp_path, *options)
    assert ended.code == 0, ended.err
    assert float(table(tmp_path)["a"]["lab_mean_l"]) > 0
    sheet = np.asarray(Image.open(tmp_path / "contact-sheet-001.png"))[GAP + TEXT :, GAP : GAP + CELL]
    half = CELL // 2
    difference = sheet[2 : half - 2, 2 : half - 2].astype(int) - sheet[2 : half - 2, half + 2 : CELL - 2]
    assert np.abs(difference).max() <= 1


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_scanners_are_told_before_and_less_after(
    cli: Cli, tmp_path: Path, write_slide: Callable[..., Path]
) -> None:
    rows = ["slide,patient,label,site"]
    folder = tmp_path / "slides"
    folder.mkdir()
    for number in range(12):
        write_slide(folder / f"s{number}.tiff", he_slide((PURPLE, PALER)[number % 2], number), 1.0)
        rows.append(f"s{number},p{number},x,{'north' if number % 2 else 'south'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    options = ["--labels", tmp_path / "labels.csv", "--column", "site", "--encoder", "mean"]
    ended = cli("stain-report", folder, "-o", tmp_path / "out", *options, "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)["told_apart"]
    assert (told["column"], told["groups"], told["slides"]) == ("site", ["north", "south"], 12)
    assert told["before"] > 0.9
    assert told["after"] < 0.75
    page = (tmp_path / "out/stain.html").read_text()
    assert f"{told['before']:.3f} before, {told['after']:.3f} after" in page, told
    assert table(tmp_path / "out")["s3"]["group"] == "north"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--stain", "makenco"], "Known methods: macenko"),
        (["--labels", "labels.csv", "--column", "site"], "no column site"),
        (["--labels", "others.csv"], "names none of the slides"),
        (["--labels", "labels.csv", "--encoder", "null"], "gives no embeddings"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    cli: Cli, slides: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    (tmp_path / "labels.csv").write_text("slide,patient,scanner\na,p,A\n")
    (tmp_path / "others.csv").write_text("slide,patient,scanner\nz,p,A\n")
    options = [str(tmp_path / o) if o.endswith(".csv") else o for o in options]
    ended = cli("stain-report", slides, "-o", tmp_path / "out", *options)
    assert ended.code == 2, ended.err
    assert told in " ".join(ended.err.split())
    assert not (tmp_path / "out").exists()


def test_names_that_are_hostile(cli: Cli, slides: Path, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\x1b[31m&\udcff"
    (slides / "a.tiff").rename(slides / f"{name}.tiff")
    ended = cli("stain-report", slides / f"{name}.tiff", "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    page = (tmp_path / "out/stain.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "\x1b" not in page + ended.err + ended.out


def test_patches_that_cannot_be_read_fail_the_slide(real: Callable[[str], Path], slides: Path) -> None:
    """And do not end the others."""
    (slides / "cut.tiff").write_bytes((slides / "a.tiff").read_bytes()[:100_000])
    items = find_inputs([slides / "cut.tiff", slides / "b.tiff"]).inputs
    found = {item.slide_id: look for item, look in looks(items, CONFIG, "macenko", Execution(readers=2))}
    assert isinstance(found["cut"], SlidestreamError)
    assert isinstance(found["b"], StainLook)
    assert found["b"].fit
