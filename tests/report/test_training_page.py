"""The page of a training run: its numbers are those of the files, and it says what should worry a reader."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import StoreIncomplete
from slidestream.report.training_page import training_page, write_training_page
from slidestream.report.training_run import TrainingRun, best_epoch, read_training_run, warnings_of

HOSTILE = "<b>benign</b>"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 bags as npz files, half of them with a few patches of another kind; two repeats of two folds."""
    from slidestream.mil.spec import SplitSpec, TrainSpec
    from slidestream.mil.train import train

    folder, random = tmp_path_factory.mktemp("report"), np.random.default_rng(0)
    (folder / "bags").mkdir()
    lines = ["slide,patient,label,site"]
    for number in range(24):
        x = random.normal(size=(20, 6)).astype(np.float32)
        x[:6, 0] += 4 * (number // 2 % 2)
        np.savez(folder / "bags" / f"s{number:02}.npz", features=x)
        label = "malignant" if number // 2 % 2 else HOSTILE
        lines.append(f"s{number:02},patient {number // 2},{label},site {number // 4 % 3}")
    np.savez(folder / "bags" / "unlabelled.npz", features=x)
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    split = SplitSpec(repeats=2, keep_together="site")
    spec = TrainSpec(folds=2, epochs=4, hidden=8, attention=4, bootstrap=20, split=split)
    train(folder / "bags", folder / "labels.csv", folder / "head", spec)
    return folder / "head"


@pytest.fixture
def run(head: Path) -> TrainingRun:
    return read_training_run(head)


def test_the_page_has_the_numbers_of_the_files_and_needs_no_other(head: Path) -> None:
    page = write_training_page(head).read_text(encoding="utf-8")
    metrics = json.loads((head / "metrics.json").read_text())
    for model in ("head", "head_uncalibrated", "linear_probe"):
        for estimate in metrics[model].values():
            text = f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
            assert f"<td>{text}</td>" in page
    for table in ("folds", "sites"):
        for row in metrics[table]:
            cells = "".join(f"<td>{row['metrics'][name]:.3f}</td>" for name in ("auroc", "auprc"))
            assert cells in page
    assert page.count("<svg") == 6
    assert all(f">head {number}<" in page for number in (1, 2, 3, 4))
    assert "<td>split.keep_together</td><td>site</td>" in page
    assert "<td>covariates</td><td>none</td>" in page
    assert "<td>mixup</td><td>no</td>" in page
    assert "(positive: malignant)" in page
    assert "<td>left out, without label</td><td>1: unlabelled</td>" in page
    # Self-contained: nothing is loaded, nothing runs, and no name is taken for markup.
    assert not re.search(r"<script|<link|<img|src=|@import", page)
    assert all(target.startswith(("#", "data:image/png")) for target in re.findall(r'href="([^"]*)"', page))
    assert HOSTILE not in page
    assert "&lt;b&gt;benign&lt;/b&gt;" in page
    assert "patient 3" not in page
    assert training_page(read_training_run(head)) == page


def test_a_reader_is_warned(run: TrainingRun) -> None:
    found = "\n".join(warnings_of(run))
    assert "Class malignant has few patients, 6" in found
    assert "Slides left out: 1" in found
    assert "--validation 0 --epochs 30 may be better" in found
    whole = "\n".join(warnings_of(replace(run, spec=replace(run.spec, validation=0.0))))
    assert "--validation 0" not in whole
    worse = run.metrics["linear_probe"] | {"auroc": run.metrics["head"]["auroc"] | {"value": 1.0}}
    against = "\n".join(warnings_of(replace(run, metrics=run.metrics | {"linear_probe": worse})))
    assert "does not beat the linear probe" in against
    assert "against 1.000" in against
    better = run.metrics["linear_probe"] | {"auroc": run.metrics["head"]["auroc"] | {"value": 0.0}}
    head = run.metrics["head"] | {"auroc": run.metrics["head"]["auroc"] | {"value": 0.9, "low": 0.8}}
    fine = replace(run, metrics=run.metrics | {"linear_probe": better, "head": head})
    assert "linear probe" not in "\n".join(warnings_of(fine))
    allowed = replace(run, spec=replace(run.spec, allow_duplicates=True))
    assert "look the same were allowed" in "\n".join(warnings_of(allowed))


def test_the_epoch_kept_is_the_first_of_the_least_loss(run: TrainingRun) -> None:
    losses = [0.5, None, 0.3, 0.3, 0.4]
    epochs = [{"fold": 0.0, "epoch": float(e), "validation_loss": loss} for e, loss in enumerate(losses)]
    assert best_epoch(epochs) == 2
    last = [{"fold": 1.0, "epoch": float(e), "validation_loss": 1.0 - e / 10} for e in range(run.spec.epochs)]
    told = "\n".join(warnings_of(replace(run, epochs=epochs + last)))
    assert "Head 2 was still getting better" in told


def test_a_folder_that_is_none_is_refused(tmp_path: Path, head: Path) -> None:
    with pytest.raises(StoreIncomplete, match="whole training run"):
        read_training_run(tmp_path)


def test_train_writes_the_page(head: Path, tmp_path: Path, cli: Callable) -> None:
    common = ("--labels", head.parent / "labels.csv", "--folds", 2, "--epochs", 1)
    ended = cli("train", head.parent / "bags", *common, "-o", tmp_path / "head")
    assert ended.code == 0, ended.err
    assert "Training of head" in (tmp_path / "head" / "report.html").read_text(encoding="utf-8")
