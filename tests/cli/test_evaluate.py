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
