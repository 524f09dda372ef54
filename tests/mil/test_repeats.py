"""Head folders of several splits: every slide is judged by each head that never saw its patient."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from slidestream.errors import InputError
from slidestream.features.layout import store_path
from slidestream.features.store import open_store
from slidestream.mil.artifact import load_head
from slidestream.mil.calibration import OutOfFold, calibrate, fit_temperature, temper
from slidestream.mil.predict import predict_run, predict_store
from slidestream.mil.spec import SplitSpec, TrainSpec
from slidestream.mil.train import train

SPEC = TrainSpec(folds=3, epochs=4, hidden=16, attention=8, bootstrap=5, split=SplitSpec(repeats=2))
Cohort = tuple[Path, Path]


def read(path: Path) -> dict[str, dict[str, str]]:
    with open(path, newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


def with_sites(labels: Path) -> None:
    """Every third patient of each class is of site A, B or C."""
    lines = labels.read_text().splitlines()
    sites = [f"site {'ABC'[number // 4 % 3]}" for number in range(24)]
    body = [f"{line.rsplit(',', 1)[0]},{site}" for line, site in zip(lines[1:], sites, strict=True)]
    labels.write_text("\n".join([lines[0], *body]) + "\n")


def test_out_of_fold_is_the_mean_over_the_heads_that_held_a_slide_out(cohort: Cohort, tmp_path: Path) -> None:
    head = tmp_path / "head"
    report = train(*cohort, head, SPEC)
    rows = read(head / "predictions.csv")
    loaded = load_head(head)
    assert len(loaded.heads) == 6
    for p in predict_run(head, cohort[0], out_of_fold=True):
        first, second = (int(fold) for fold in rows[p.slide]["fold"].split("|"))
        assert 0 <= first < 3 <= second < 6
        assert p.folds == (first, second) == loaded.folds_of_slide[p.slide]
        alone = predict_store(loaded, open_store(store_path(cohort[0], p.slide)))
        new = loaded.calibration.temperature  # type: ignore[union-attr]
        own = np.array(loaded.calibration.fold_temperatures)[[first, second]]  # type: ignore[union-attr]
        raw = temper(alone.fold_probabilities[[first, second]], 1 / new)
        np.testing.assert_allclose(p.fold_probabilities, temper(raw, own[:, None]), atol=1e-9)
        assert float(rows[p.slide]["p_tumour"]) == pytest.approx(p.probabilities[1], abs=1e-7)
    assert [row["repeat"] for row in report.metrics["folds"]] == [0, 0, 0, 1, 1, 1]
    assert len({path.read_bytes() for path in head.glob("fold-*.safetensors")}) == 6
    assert report.metrics["slides"] == 24


def test_each_repeat_learns_temperatures_of_its_own_from_other_patients() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 60)
    raw = random.dirichlet([1, 1, 1], (4, 60))
    first, second = random.permutation(60) % 2, random.permutation(60) % 2
    for head, (fold, number) in enumerate([(first, 0), (first, 1), (second, 0), (second, 1)]):
        raw[head, fold != number] = np.nan
    patients = [f"p{i}" for i in range(60)]
    kept = calibrate(OutOfFold(patients, targets, raw, np.array([0, 0, 1, 1])))
    for head, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
        rows = ~np.isnan(raw[other, :, 0])
        assert kept.fold_temperatures[head] == fit_temperature(raw[other, rows], targets[rows])
    slide = 7
    each = [temper(raw[head, slide], kept.fold_temperatures[head]) for head in kept.folds[slide]]
    np.testing.assert_allclose(kept.probabilities[slide], np.mean(each, 0))


def test_a_head_alone_in_its_repeat_is_calibrated_by_what_it_stopped_by() -> None:
    random = np.random.default_rng(0)
    raw, targets = random.dirichlet([1, 1], (1, 20)), random.integers(0, 2, 20)
    stopping = random.dirichlet([1, 1], 30), random.integers(0, 2, 30)
    kept = calibrate(OutOfFold([str(i) for i in range(20)], targets, raw, np.zeros(1, int), {0: stopping}))
    assert kept.fold_temperatures == (fit_temperature(*stopping),)
    assert kept.temperature == fit_temperature(raw[0], targets)


def test_sites_that_are_left_out_have_metrics_of_their_own(own_cohort: Cohort, tmp_path: Path) -> None:
    run, labels = own_cohort
    with_sites(labels)
    spec = TrainSpec(epochs=4, bootstrap=5, split=SplitSpec(leave_out="site"))
    report = train(run, labels, tmp_path / "head", spec)
    rows = read(tmp_path / "head" / "predictions.csv")
    assert [row["held_out"] for row in report.metrics["folds"]] == ["site A", "site B", "site C"]
    assert [row["site"] for row in report.metrics["sites"]] == ["site A", "site B", "site C"]
    for number, (fold, site) in enumerate(zip(report.metrics["folds"], report.metrics["sites"], strict=True)):
        own = [row for row in rows.values() if row["fold"] == str(number)]
        assert fold["slides"] == site["slides"] == len(own) == 8
        assert fold["classes"] == {"normal": 4, "tumour": 4}
        assert (fold["train"], fold["validation"]) == (12, 4)
        truth = [row["label"] == "tumour" for row in own]
        found = roc_auc_score(truth, [float(row["p_tumour"]) for row in own])
        assert fold["metrics"]["auroc"] == site["metrics"]["auroc"] == pytest.approx(found)
    # The names of sites stay with the table of slides; a head may be handed on without it.
    assert "site A" in (tmp_path / "head" / "metrics.json").read_text()
    assert "site A" not in (tmp_path / "head" / "head.json").read_text()


def test_a_given_test_set_is_judged_once_and_others_have_no_prediction(
    cohort: Cohort, tmp_path: Path
) -> None:
    names = [f"s{n:02}" for n in range(24)]
    columns = [names[:12], names[12:16], names[16:22]]
    lines = [",".join(c[i] if i < len(c) else "" for c in columns) for i in range(12)]
    (tmp_path / "split.csv").write_text("\n".join(["train,val,test", *lines]) + "\n")
    spec = TrainSpec(epochs=4, bootstrap=5, split=SplitSpec(given=str(tmp_path / "split.csv")))
    report = train(*cohort, tmp_path / "head", spec)
    assert report.metrics["left_out"]["without_split"] == ["s22", "s23"]
    assert list(read(tmp_path / "head" / "predictions.csv")) == names[16:22]
    loaded = load_head(tmp_path / "head")
    assert len(loaded.heads) == 1
    tested = predict_store(loaded, open_store(store_path(cohort[0], "s17")), out_of_fold=True)
    assert (tested.folds, tested.held_out) == ((0,), True)
    new = predict_store(loaded, open_store(store_path(cohort[0], "s22")), out_of_fold=True)
    assert (new.folds, new.held_out) == ((0,), False)
    with pytest.raises(InputError, match="s02 was held out by no head"):
        predict_store(loaded, open_store(store_path(cohort[0], "s02")), out_of_fold=True)


def test_a_changed_table_of_folds_starts_afresh(cohort: Cohort, tmp_path: Path) -> None:
    """The spec names the table only: what is in it belongs to the key too."""
    path, told = tmp_path / "folds.csv", list[int]()
    spec = TrainSpec(epochs=2, bootstrap=1, split=SplitSpec(given=str(path)))

    def stop(report: object) -> None:
        if report.fold == 1:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    path.write_text("slide,fold\n" + "".join(f"s{n:02},{n // 4 % 2}\n" for n in range(24)))
    with pytest.raises(KeyboardInterrupt):
        train(*cohort, tmp_path / "head", spec, stop)
    path.write_text("slide,fold\n" + "".join(f"s{n:02},{(n + 2) // 4 % 2}\n" for n in range(24)))
    train(*cohort, tmp_path / "head", spec, lambda report: told.append(report.fold))
    assert set(told) == {0, 1}
    document = json.loads((tmp_path / "head" / "head.json").read_text())
    assert document["slides"]["s02"]["folds"] == [1]


def test_the_command_line_splits_as_it_is_told(own_cohort: Cohort, tmp_path: Path, cli) -> None:  # type: ignore[no-untyped-def]
    run, labels = own_cohort
    with_sites(labels)
    common = ("train", run, "--labels", labels, "--epochs", 1, "--json")
    ended = cli(*common, "-o", tmp_path / "a", "--keep-together", "site", "--folds", 3, "--repeats", 2)
    assert ended.code == 0, ended.err
    folds = json.loads(ended.out)["metrics"]["folds"]
    assert [row["slides"] for row in folds] == [8] * 6
    assert "training fold 6 of 6" in ended.err
    ended = cli(*common, "-o", tmp_path / "b", "--keep-together", "scanner", "--folds", 3)
    assert ended.code == 2
    assert "no column scanner" in ended.err
