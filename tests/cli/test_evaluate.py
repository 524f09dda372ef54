"""`evaluate` from tables: JSON, page and figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from slidestream.table import write_table

Cli = Callable[..., Any]
NAME = "<script>site</script>"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder with predictions of 60 slides, other ones of them, and labels with a column of sites."""
    random = np.random.default_rng(0)
    targets = random.integers(0, 2, 60)
    for name, skill in (("p.csv", 2.0), ("q.csv", 0.1)):
        score = 1 / (1 + np.exp(-skill * (2 * targets - 1) - random.normal(size=60)))
        rows = [
            [f"s{i}", ["low", "high"][int(s > 0.5)], f"{1 - s:.9g}", f"{s:.9g}"] for i, s in enumerate(score)
        ]
        write_table(tmp_path / name, ["slide", "predicted", "p_low", "p_high"], rows)
    truth = [[f"s{i}", f"p{i}", ["low", "high"][t], [NAME, "B"][i % 2]] for i, t in enumerate(targets)]
    write_table(tmp_path / "labels.csv", ["slide", "patient", "label", "site"], truth[:58])
    return tmp_path


def test_everything_at_once(cli: Cli, tables: Path) -> None:
    ended = cli(
        *("evaluate", tables / "p.csv", "--labels", tables / "labels.csv", "--by", "site"),
        *("--against", tables / "q.csv", "-o", tables / "out", "--resamples", "100", "--json"),
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    lines = [line.split(",") for line in (tables / "p.csv").read_text().splitlines()[1:59]]
    labels = [line.split(",")[2] for line in (tables / "labels.csv").read_text().splitlines()[1:]]
    expected = roc_auc_score([label == "high" for label in labels], [float(line[3]) for line in lines])
    assert told["metrics"]["auroc"]["value"] == pytest.approx(expected)
    assert (told["slides"], told["without_label"], told["without_prediction"]) == (58, 2, 0)
    assert [group["slides"] for group in told["groups"]["site"]["groups"]] == [29, 29]
    assert told["against"]["q.csv"]["auroc"]["low"] > 0
    assert json.loads((tables / "out/evaluation.json").read_text())["metrics"] == told["metrics"]


def test_the_page_needs_no_other_file_and_runs_nothing(cli: Cli, tables: Path) -> None:
    arguments = ["evaluate", tables / "p.csv", "--labels", tables / "labels.csv", "--by", "site"]
    ended = cli(*arguments, "-o", tables / "out", "--resamples", "50")
    assert ended.code == 0, ended.err
    assert "58 slides of 58 patients" in ended.out
    page = (tables / "out/report.html").read_text()
    assert page.count("<svg") == 5
    assert "<script" not in page
    assert "&lt;script&gt;site" in page
    assert 'src="' not in page
    for name in ("roc", "precision-recall", "confusion", "reliability", "decision-curve"):
        assert min(Image.open(tables / f"out/{name}.png").size) > 300
        assert (tables / f"out/{name}.svg").read_text().startswith("<?xml")


def test_what_cannot_be_evaluated_says_what_would_help(cli: Cli, tables: Path) -> None:
    ended = cli("evaluate", tables / "p.csv")
    assert ended.code == 2
    assert "--labels" in ended.err
    ended = cli("evaluate", tables / "p.csv", "--labels", tables / "labels.csv", "--by", "scanner")
    assert ended.code == 2
    assert "site" in ended.err


def test_grades_of_patients_are_held_against_what_their_slides_share(cli: Cli, tmp_path: Path) -> None:
    """Twelve patients of two slides; by hand, one of six benign patients is above one malignant."""
    scores = [0.1, 0.2, 0.3, 0.4, 0.7, 0.15, 0.6, 0.8, 0.9, 0.95, 0.85, 0.75]
    rows = [
        [f"p{i}", f"a{i}|b{i}", ["low", "high"][s > 0.5], f"{1 - s:.9g}", s, "no"]
        for i, s in enumerate(scores)
    ]
    write_table(tmp_path / "p.csv", ["patient", "slides", "predicted", "p_low", "p_high", "seen"], rows)
    truth = [
        [f"{slide}{i}", f"p{i}", "high" if i > 5 else "low", "A" if slide == "a" or i % 2 else "B"]
        for i in range(12)
        for slide in "ab"
    ]
    write_table(tmp_path / "labels.csv", ["slide", "patient", "label", "site"], truth)
    asked = ("evaluate", tmp_path / "p.csv", "--labels", tmp_path / "labels.csv", "--resamples", "20")
    told = json.loads(cli(*asked, "--by", "site", "--min-group", "2", "--json").out)
    assert (told["slides"], told["patients"], told["seen"]) == (12, 12, 0)
    assert told["metrics"]["auroc"]["value"] == pytest.approx(35 / 36)
    assert cli(*asked).out.startswith("12 patients; classes low, high")
    assert [(g["value"], g["patients"]) for g in told["groups"]["site"]["groups"]] == [
        ("(none)", 6),
        ("A", 6),
    ]

    truth[3][2] = "high"
    write_table(tmp_path / "labels.csv", ["slide", "patient", "label", "site"], truth)
    ended = cli(*asked)
    assert (ended.code, "Slides of patient p1 differ in label" in ended.err) == (2, True)


def test_grades_by_heads_that_knew_the_slides_are_said_to_say_little(cli: Cli, tables: Path) -> None:
    lines = (tables / "p.csv").read_text().splitlines()
    seen = [f"{line},{'yes' if i < 20 else 'no'}" for i, line in enumerate(lines[1:])]
    (tables / "p.csv").write_text("\n".join([lines[0] + ",seen", *seen]) + "\n")
    asked = ("evaluate", tables / "p.csv", "--labels", tables / "labels.csv", "--resamples", "20")
    ended = cli(*asked, "-o", tables / "out")
    told = "trained on 20 of these 58 slides"
    assert told in ended.err
    assert told in (tables / "out/report.html").read_text()
    assert json.loads(cli(*asked, "--json").out)["seen"] == 20


def test_a_place_that_cannot_be_written_is_named(cli: Cli, tables: Path) -> None:
    asked = ("evaluate", tables / "p.csv", "--labels", tables / "labels.csv", "--resamples", "2")
    for out in (tables / "q.csv", tables / "q.csv" / "below"):
        ended = cli(*asked, "-o", out)
        assert (ended.code, f"{out} cannot be used" in ended.err) == (2, True)
    ended = cli("train", tables, "--labels", tables / "labels.csv", "-o", tables / "q.csv" / "head")
    assert (ended.code, "is no folder to write into" in ended.err) == (2, True)
    ended = cli("evaluate", tables / "none.csv")
    assert (ended.code, "there is no such file" in ended.err) == (2, True)


def test_a_cohort_without_a_class_is_judged_by_the_rest(cli: Cli, tables: Path) -> None:
    arguments = ("evaluate", tables / "p.csv", "--labels", tables / "labels.csv", "-o", tables / "out")
    assert cli(*arguments, "--resamples", "2").code == 0
    assert (tables / "out/roc.svg").exists()
    lines = (tables / "labels.csv").read_text().splitlines()
    high = [line for line in lines[1:] if ",high," in line]
    (tables / "labels.csv").write_text("\n".join([lines[0], *high]) + "\n")
    ended = cli(*arguments, "--resamples", "20", "--by", "site", "--min-group", "5")
    assert ended.code == 0, ended.err
    assert "No slide has the label low" in ended.err
    assert "of which high is the positive one" in ended.out
    told = json.loads((tables / "out/evaluation.json").read_text())
    assert "auroc" not in told["metrics"]
    found = [line.split(",")[1] for line in (tables / "p.csv").read_text().splitlines()[1:59]]
    right = [given == "high" for given, line in zip(found, lines[1:], strict=True) if ",high," in line]
    assert told["metrics"]["balanced_accuracy"]["value"] == pytest.approx(np.mean(right))
    assert not (tables / "out/roc.svg").exists()
