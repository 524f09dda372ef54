"""Settings of training: options, a file and --set, and where it computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve bags of two kinds, and their labels."""
    folder, random = tmp_path_factory.mktemp("bags"), np.random.default_rng(0)
    rows = ["slide,patient,label"]
    (folder / "bags").mkdir()
    for number in range(12):
        features = random.normal(number % 2, size=(20, 6)).astype(np.float32)
        np.savez(folder / f"bags/s{number:02}.npz", X=features)
        rows.append(f"s{number:02},p{number:02},{'ab'[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def trained(cli: Cli, bags: Path, out: Path, *options: str) -> dict[str, Any]:
    """What the head folder says of its training."""
    ended = cli("train", bags / "bags", "--labels", bags / "labels.csv", "-o", out, *options)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads((out / "head.json").read_text())["train"]
    return found


def test_a_file_then_options_then_set(cli: Cli, bags: Path, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("folds: 4\nepochs: 1\nlr: 1e-2\nhidden: 8\nsplit: {repeats: 2}\n")
    found = trained(
        cli,
        bags,
        tmp_path / "a",
        "--config",
        str(file),
        "--folds",
        "3",
        "--set",
        "hidden=4",
        "--set",
        "lr=3e-4",
    )
    assert (found["folds"], found["epochs"], found["hidden"], found["lr"]) == (3, 1, 4, 3e-4)
    assert found["split"]["repeats"] == 2
    again = trained(cli, bags, tmp_path / "b", "--config", str(tmp_path / "a/head.json"))
    assert again == found
    same = [(tmp_path / name / "predictions.csv").read_bytes() for name in "ab"]
    assert same[0] == same[1]


def test_a_number_with_an_exponent_in_a_file(cli: Cli, bags: Path, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("epochs: 1\nfolds: 2\nlr: 1e-2\nweight_decay: 5E-03\n")
    assert yaml.safe_load("1e-2") == "1e-2", "which is why it needs care"
    found = trained(cli, bags, tmp_path / "head", "--config", str(file))
    assert (found["lr"], found["weight_decay"]) == (0.01, 0.005)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--set", "learning_rate=1"), "has no setting 'learning_rate'"),
        (("--set", "epoch=1"), "Did you mean 'epochs'?"),
        (("--set", "lr"), "--set lr has no value"),
        (("--set", "lr=["), "--set lr=[ is not valid YAML"),
        (("--set", "lr=fast"), "'fast' is not of type float"),
        (("--device", "gpu0"), "Nothing can be computed on gpu0 here"),
        (("--device", "cuda:0,cuda:1"), "more than one device"),
    ],
)
def test_what_cannot_be(cli: Cli, bags: Path, tmp_path: Path, option: tuple[str, ...], said: str) -> None:
    command = ("train", bags / "bags", "--labels", bags / "labels.csv", "-o", tmp_path / "head")
    ended = cli(*command, *option)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
    assert not (tmp_path / "head").exists()


def test_it_computes_where_it_was_told(cli: Cli, bags: Path, tmp_path: Path) -> None:
    found = trained(cli, bags, tmp_path / "head", "--epochs", "1", "--folds", "2")
    assert found["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    found = trained(cli, bags, tmp_path / "other", "--epochs", "1", "--folds", "2", "--device", "cpu")
    assert found["device"] == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(
    cli: Cli, bags: Path, tmp_path: Path, write_slide: Cli, tissue_pixels: Cli
) -> None:
    slide = write_slide(tmp_path / "a.tiff", tissue_pixels(600), 0.5)
    for device in ("cuda", "cuda:1", "gpu0"):
        ended = cli("run", slide, "-o", tmp_path / "run", "--device", device)
        assert ended.code == 2, ended.err
        assert f"Nothing can be computed on {device} here" in ended.err
    command = ("train", bags / "bags", "--labels", bags / "labels.csv", "-o", tmp_path / "head")
    ended = cli(*command, "--device", "cuda")
    assert ended.code == 2
    assert "Nothing can be computed on cuda here" in ended.err
    assert "--device cpu" in ended.err
