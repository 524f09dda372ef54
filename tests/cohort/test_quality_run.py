"""Rules of quality and regions in a run: statuses, counts, the table, and what makes a store stale."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from slidestream.features.store import open_store
from slidestream.status import BLUR, OK, PEN
from slidestream.tiling.annotations import Annotation, write_annotations

Cli = Callable[..., Any]
SIDE = 2048
"""px of 0.5 µm: with patches of 64 µm a grid of 16 x 16."""


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory, write_slide: Callable[..., Path]) -> Path:
    """Nuclei on stroma; the upper left quarter out of focus, a red stroke of 0.3 mm on the right."""
    rng = np.random.default_rng(0)
    stroma = rng.normal(0, 12, (SIDE, SIDE, 1)) + np.array([205, 140, 185])
    nuclei = ndimage.gaussian_filter(rng.random((SIDE, SIDE)), 4) > 0.513
    pixels = np.where(nuclei[..., None], (110, 70, 140), stroma)
    half = SIDE // 2
    soft = ndimage.gaussian_filter(pixels, (8, 8, 0))  # 4 µm
    pixels[:half, :half] = soft[:half, :half]
    pixels[:, 1408:] = np.minimum(pixels[:, 1408:] * np.array([0.9, 0.15, 0.2]), 255)
    pixels[:, :60] = pixels[:60] = pixels[-60:] = 243  # glass
    folder = tmp_path_factory.mktemp("slides")
    return write_slide(folder / "a.tiff", pixels.clip(0, 255).astype(np.uint8), 0.5)


def run(cli: Cli, slide: Path, out: Path, *options: object) -> dict[str, Any]:
    means = () if "--readers" in options else ("--readers", "0")  # processes take seconds to start
    ended = cli("run", slide, "-o", out, "--encoder", "mean", "--min-tissue", "0", "--json", *means, *options)
    assert ended.code == 0, ended.err
    return dict(json.loads(ended.out))


def grid_of(out: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The status (16, 16) and the embeddings of the patches by row and column."""
    store = open_store(out / "embeddings/a.zarr")
    return store.status().reshape(16, 16), store.features().reshape(16, 16, -1)


@pytest.mark.usefixtures("mean_encoder")
def test_excluded_patches_say_why_and_reach_no_bag(cli: Cli, slide: Path, tmp_path: Path) -> None:
    plain = run(cli, slide, tmp_path / "plain")
    told = run(cli, slide, tmp_path / "run", "--exclude", "pen,blur")
    before, everything = grid_of(tmp_path / "plain")
    status, features = grid_of(tmp_path / "run")
    assert (before == OK).all()
    assert (status[:, 11:] == PEN).all()
    assert (status[2:7, 2:7] == BLUR).all()
    assert (status[9:15, 2:10] == OK).all()
    assert np.isnan(features[status != OK]).all()
    np.testing.assert_array_equal(features[status == OK], everything[status == OK])

    (outcome,) = told["outcomes"]
    assert plain["outcomes"][0]["excluded"] == 0
    assert outcome["excluded"] == (status != OK).sum()
    counts = open_store(tmp_path / "run/embeddings/a.zarr").attributes["counts"]
    assert counts["pen"] == (status == PEN).sum()
    assert counts["blur"] == (status == BLUR).sum()
    (row,) = csv.DictReader((tmp_path / "run/quality.csv").read_text().splitlines())
    assert (row["slide_id"], int(row["pen"])) == ("a", counts["pen"])
    assert float(row["pen_red_mm2"]) == pytest.approx(0.32 * 0.964, rel=0.05)
    assert cli("verify", tmp_path / "run").code == 0
    ended = cli(
        "run", slide, "-o", tmp_path / "again", "--exclude", "blur", "--encoder", "mean", "--readers", "0"
    )
    assert " excluded, " in ended.err


@pytest.mark.usefixtures("mean_encoder")
@pytest.mark.parametrize("options", [["--readers", "2"], ["--batch-size", "7", "--workers", "5"]])
def test_exclusion_depends_on_no_means(cli: Cli, slide: Path, tmp_path: Path, options: list[str]) -> None:
    run(cli, slide, tmp_path / "one", "--exclude", "blur")
    run(cli, slide, tmp_path / "two", "--exclude", "blur", *options)
    np.testing.assert_array_equal(grid_of(tmp_path / "one")[0], grid_of(tmp_path / "two")[0])


@pytest.mark.usefixtures("mean_encoder")
def test_rules_belong_to_the_configuration(cli: Cli, slide: Path, tmp_path: Path) -> None:
    run(cli, slide, tmp_path / "run", "--exclude", "pen", "--set", "quality.max_pen=0.5")
    ended = cli("run", slide, "-o", tmp_path / "run", "--encoder", "mean", "--min-tissue", "0")
    assert ended.code == 2
    assert "quality.exclude" in ended.err
    ended = cli("run", slide, "-o", tmp_path / "other", "--encoder", "mean", "--exclude", "pencil")
    assert (ended.code, "pen, blur" in ended.err) == (2, True)


def square(name: str, x: int, y: int, side: int) -> Annotation:
    corners = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], float)
    return Annotation(name, [[corners]])


def corners_of(out: Path) -> NDArray[np.int32]:
    return open_store(out / "embeddings/a.zarr").coords()


@pytest.mark.usefixtures("mean_encoder")
def test_patches_follow_what_a_person_drew_and_a_change_makes_stale(
    cli: Cli, slide: Path, tmp_path: Path
) -> None:
    roi = tmp_path / "roi"
    roi.mkdir()
    write_annotations(roi / "a.geojson", [square("Tissue", 512, 512, 512), square("Tumor", 512, 512, 256)])
    command = ["run", slide, "-o", tmp_path / "run", "--encoder", "mean", "--min-tissue", "0.5", "--json"]
    command += ["--readers", "0"]

    def again(*options: object) -> dict[str, Any]:
        ended = cli(*command, *options)
        assert ended.code == 0, ended.err
        return dict(json.loads(ended.out)["counts"])

    assert again("--roi", roi)["done"] == 1
    assert corners_of(tmp_path / "run").min(axis=0).tolist() == [512, 512]
    assert corners_of(tmp_path / "run").max(axis=0).tolist() == [640, 640]
    assert again("--roi", roi) == {"up_to_date": 1}
    moved = roi.rename(tmp_path / "elsewhere")
    assert again("--roi", moved) == {"up_to_date": 1}, "where the file lies does not matter"
    write_annotations(moved / "a.geojson", [square("Tissue", 1024, 512, 512)])
    assert again("--roi", moved)["done"] == 1
    assert corners_of(tmp_path / "run").min(axis=0).tolist() == [1024, 512]
    assert again()["done"] == 1, "without regions the algorithm decides again"
    assert len(corners_of(tmp_path / "run")) > 150


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_a_slide_of_which_nothing_is_left_has_no_tissue(
    cli: Cli, tmp_path: Path, write_slide: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(0, 400, (1024, 1024, 3)), (9, 9, 0))
    pixels = noise + np.array([205, 140, 185])
    slide = write_slide(tmp_path / "a.tiff", pixels.clip(0, 255).astype(np.uint8), 0.5)
    ended = cli("run", slide, "-o", tmp_path / "run", "--encoder", "mean", "--exclude", "blur", "--json")
    (outcome,) = json.loads(ended.out)["outcomes"]
    assert (outcome["status"], outcome["excluded"]) == ("no_tissue", outcome["patches"])
    assert json.loads(cli("status", tmp_path / "run", "--rebuild", "--json").out)["counts"] == {
        "no_tissue": 1
    }
