"""How much is set aside to stop by; with nothing set aside a head learns from all, for all epochs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slidestream.errors import UsageError
from slidestream.mil.bags import Bags
from slidestream.mil.fit import EpochReport, FoldJob, fit_head
from slidestream.mil.given import plan_given, read_given
from slidestream.mil.labels import Entry, Labels
from slidestream.mil.spec import SplitSpec, TrainSpec
from slidestream.mil.splits import plan_folds
from slidestream.mil.standardise import Moments
from slidestream.mil.train import train
from slidestream.report.training_page import write_training_page

LABELS = Labels.of([Entry(f"s{n:02}", f"p{n // 2:02}", "ab"[n // 2 % 2]) for n in range(80)])


@pytest.mark.parametrize(("share", "patients"), [(0.1, 3), (0.25, 8), (0.5, 16)])
def test_the_share_of_the_patients(share: float, patients: int) -> None:
    """40 patients, of which 32 may be learned from."""
    for split in plan_folds(LABELS, TrainSpec(validation=share)).splits:
        assert int(split.validation.sum()) == pytest.approx(2 * patients, abs=2)
        assert (split.train ^ split.validation ^ split.held_out).all()


@pytest.mark.parametrize("split", [SplitSpec(repeats=2), SplitSpec(leave_out="site")])
def test_nothing_set_aside(split: SplitSpec) -> None:
    site_of = {patient: patient[-1] for patient in LABELS.patients}
    plan = plan_folds(LABELS, TrainSpec(validation=0, split=split), site_of)
    for one in plan.splits:
        assert not one.validation.any()
        np.testing.assert_array_equal(one.train, ~one.held_out)


def test_the_part_to_stop_by_of_given_splits_is_learned_from(tmp_path: Path) -> None:
    names = list(LABELS.slides)
    (tmp_path / "one.csv").write_text(
        "train,val,test\n"
        + "".join(f"{a},{b},{c}\n" for a, b, c in zip(*np.split(np.array(names[:60]), 3), strict=True))
    )
    (split,) = plan_given(LABELS, read_given(tmp_path / "one.csv"), TrainSpec(validation=0)).splits
    assert split.train.tolist() == [number < 40 for number in range(80)]
    assert not split.validation.any()
    (split,) = plan_given(LABELS, read_given(tmp_path / "one.csv"), TrainSpec()).splits
    assert split.validation.tolist() == [20 <= number < 40 for number in range(80)]


def test_one_patient_of_a_class_is_enough_to_learn_from() -> None:
    """Two of 'b': one is held out, the other taught by."""
    labels = Labels.of([Entry(f"s{n}", f"s{n}", "b" if n < 2 else "a") for n in range(10)])
    with pytest.raises(UsageError, match="1 patients of class b are left"):
        plan_folds(labels, TrainSpec(folds=2))
    assert len(plan_folds(labels, TrainSpec(folds=2, validation=0)).splits) == 2


def test_the_head_of_the_last_epoch_is_kept() -> None:
    """With a validation part on which every epoch is better than the last, that is what is kept, too."""
    random = np.random.default_rng(0)
    bags = {}
    for number in range(20):
        x = torch.from_numpy(random.normal(2.0 * (number % 2), size=(9, 4)).astype(np.float32))
        bags[str(number)] = Bags.single(x, torch.zeros(9, 2, dtype=torch.int32))
    cases = [(slide, int(slide) % 2) for slide in bags]
    moments = Moments.together([Moments.of_bag(bag) for bag in bags.values()])
    job = FoldJob(0, 2, cases, cases, moments, seed=0)
    spec = TrainSpec(head="mean", hidden=4, epochs=6, patience=1, dropout=0.0, bags_per_step=20)
    said: list[EpochReport] = []
    stopped = fit_head(job, bags.__getitem__, spec, said.append)
    losses = [one.validation_loss for one in said]
    assert losses == sorted(losses, reverse=True), "or this test says nothing"
    said.clear()
    whole = fit_head(replace(job, validation=[]), bags.__getitem__, spec, said.append)
    assert len(said) == spec.epochs
    assert all(math.isnan(one.validation_loss) for one in said)
    for name, weights in stopped.state_dict().items():
        torch.testing.assert_close(whole.state_dict()[name], weights, rtol=0, atol=0)


def test_a_head_folder_and_its_page(cohort: tuple[Path, Path], tmp_path: Path) -> None:
    train(*cohort, tmp_path / "head", TrainSpec(validation=0, epochs=3, folds=3, bootstrap=5))
    epochs = [json.loads(line) for line in (tmp_path / "head/history.jsonl").read_text().splitlines()]
    assert [epoch["validation_loss"] for epoch in epochs] == [None] * 9
    write_training_page(tmp_path / "head")
    page = (tmp_path / "head/report.html").read_text()
    assert "3 of 3" in page
    assert "still getting better" not in page


def test_a_single_split_without_a_part_to_stop_by_has_no_temperature(
    cohort: tuple[Path, Path], tmp_path: Path
) -> None:
    """Nothing that the head has not learned from could teach it."""
    rows = [line.split(",") for line in cohort[1].read_text().splitlines()[1:]]
    patients = sorted({row[1] for row in rows})
    fold = {patient: "test" if number % 3 == 0 else "train" for number, patient in enumerate(patients)}
    columns = {part: [patient for patient in patients if fold[patient] == part] for part in ("train", "test")}
    lines = [
        f"{a},," + (columns["test"][n] if n < len(columns["test"]) else "")
        for n, a in enumerate(columns["train"])
    ]
    (tmp_path / "split.csv").write_text("train,val,test\n" + "\n".join(lines) + "\n")
    spec = TrainSpec(validation=0, epochs=2, bootstrap=5, split=SplitSpec(given=str(tmp_path / "split.csv")))
    train(*cohort, tmp_path / "head", spec)
    document = json.loads((tmp_path / "head/head.json").read_text())
    assert document["calibration"]["fold_temperatures"] == [1.0]


@pytest.mark.parametrize("share", [-0.1, 0.6])
def test_impossible_shares(share: float) -> None:
    with pytest.raises(UsageError, match="validation"):
        TrainSpec(validation=share)
