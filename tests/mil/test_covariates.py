"""Covariates: how they are read, that every head learns from them, and that prediction asks for them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import relu

from slidestream.errors import InputError, UsageError
from slidestream.features.layout import store_path
from slidestream.features.store import open_store
from slidestream.mil.artifact import load_head
from slidestream.mil.bags import Bags
from slidestream.mil.cases import Cases
from slidestream.mil.covariates import MOST_WORDS, Column, Covariates, with_covariates
from slidestream.mil.explain import EXPLAINERS
from slidestream.mil.fusion import CovariateLayer
from slidestream.mil.predict import predict_run, predict_store, told_of
from slidestream.mil.registry import build_head, head_names
from slidestream.mil.spec import FUSION, TrainSpec
from slidestream.mil.subsets import of_each_alone, subsets_of
from slidestream.mil.train import train

ROWS = {
    "a": {"slide": "a", "age": "50", "sex": "f", "note": "x"},
    "b": {"slide": "b", "age": "", "sex": "m", "note": "x"},
    "c": {"slide": "c", "age": "70.5", "sex": "", "note": "x"},
}


def test_numbers_and_words_become_numbers_and_what_is_missing_is_marked() -> None:
    table = Covariates.of(ROWS, ("age", "sex"))
    assert table.columns == (Column("age"), Column("sex", ("f", "m")))
    assert table.encode(ROWS, ["a"]) == (50, 0, 1, 0, 0)
    age, missing, *sex = table.encode(ROWS, ["b"])
    assert math.isnan(age)
    assert (missing, *sex) == (1, 0, 1, 0)
    assert table.encode(ROWS, ["c"]) == (70.5, 0, 0, 0, 1)
    assert Covariates.from_dict(json.loads(json.dumps(table.to_dict()))) == table
    assert table.encode(ROWS, ["b", "b"])[1:] == (1, 0, 1, 0)


def test_what_cannot_be_a_covariate_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no column scanner.*slide, age, sex, note"):
        Covariates.of(ROWS, ("scanner",))
    with pytest.raises(UsageError, match="note is the same of all slides"):
        Covariates.of(ROWS, ("note",))
    with pytest.raises(UsageError, match=f"{MOST_WORDS + 1} different words"):
        Column.of("name", [f"word {k}" for k in range(MOST_WORDS + 1)])
    table = Covariates.of(ROWS, ("age", "sex"))
    with pytest.raises(InputError, match="age of a is 'old', which is no number"):
        table.encode({"a": ROWS["a"] | {"age": "old"}}, ["a"])
    with pytest.raises(InputError, match="sex of a is 'F', none of f, m"):
        table.encode({"a": ROWS["a"] | {"sex": "F"}}, ["a"])
    with pytest.raises(InputError, match="no age, sex for slide d"):
        table.encode(ROWS, ["d"])
    with pytest.raises(InputError, match="a, b of one patient have different covariates"):
        table.encode(ROWS, ["a", "b"])
    with pytest.raises(UsageError, match="no fusion 'early'"):
        TrainSpec(fusion="early")


def test_the_layer_standardises_as_numpy_does_and_passes_over_what_is_missing() -> None:
    values = np.random.default_rng(0).normal(5, 3, (40, 3)).astype(np.float32)
    values[::3, 0] = np.nan
    values[:, 2] = 7
    layer = CovariateLayer(3, 2)
    layer.fit(torch.from_numpy(values))
    layer.weight.data = torch.tensor([[1.0, 10.0, 100.0], [0.0, 1.0, 0.0]])
    expected = (values - np.nanmean(values, 0)) / np.array([*np.nanstd(values[:, :2], 0), np.inf])
    expected = np.nan_to_num(expected) @ layer.weight.detach().numpy().T
    np.testing.assert_allclose(layer(torch.from_numpy(values)).detach(), expected, rtol=1e-4, atol=1e-5)
    changed = torch.tensor([[float("nan"), 5.0, 8.0]])
    average = torch.tensor([[float(np.nanmean(values[:, 0])), 5.0, 7.0]])
    torch.testing.assert_close(layer(changed), layer(average), rtol=0, atol=1e-5)


def random_bags(counts: tuple[int, ...] = (7, 12, 5)) -> Bags:
    draw = torch.Generator().manual_seed(1)
    every = [
        Bags.single(torch.randn(n, 6, generator=draw), torch.arange(2 * n, dtype=torch.int32).reshape(n, 2))
        for n in counts
    ]
    return Bags.of([with_covariates(bag, torch.randn(3, generator=draw).tolist()) for bag in every])


def test_the_first_layer_sees_them_beside_every_embedding() -> None:
    """Against one plain linear layer on embeddings that the covariates are appended to; gradients too."""
    head = build_head(TrainSpec(hidden=8, attention=4, dropout=0.0), 6, 2)
    layer = head.take_covariates(3, "intermediate")
    layer.weight.data.normal_()
    bags, linear = random_bags(), head.project[0]
    beside = torch.cat([bags.features, bags.covariates.repeat_interleave(bags.counts, 0)], 1)  # type: ignore[union-attr]
    weight = torch.cat([linear.weight, layer.weight], 1)
    expected = relu(beside @ weight.T + linear.bias)
    found = head.hidden(bags)
    torch.testing.assert_close(found, expected)
    seed = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, (linear.weight, linear.bias, layer.weight), seed),
        torch.autograd.grad(expected, (linear.weight, linear.bias, layer.weight), seed),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSION)
@pytest.mark.parametrize("name", head_names())
def test_every_head_takes_them_and_its_attention_still_sums_to_one(name: str, fusion: str) -> None:
    torch.manual_seed(0)
    head = build_head(TrainSpec(head=name, hidden=8, attention=4), 6, 3).eval()
    bags = random_bags()
    without = head(bags).logits
    layer = head.take_covariates(3, fusion)
    torch.testing.assert_close(head(bags).logits, without)  # it begins as it would without
    layer.weight.data.normal_()
    output = head(bags)
    for bag in range(3):
        rows = slice(int(bags.offsets[bag]), int(bags.offsets[bag + 1]))
        sums = output.attention[rows].sum(0)
        torch.testing.assert_close(sums, torch.ones_like(sums))
        torch.testing.assert_close(head(bags[bag]).logits[0], output.logits[bag], rtol=1e-4, atol=1e-5)
    other = replace(bags, covariates=-bags.covariates)  # type: ignore[operator]
    assert not torch.allclose(head(other).logits, output.logits)
    head.loss(head(bags), torch.tensor([0, 1, 2]), torch.nn.CrossEntropyLoss()).backward()
    assert layer.weight.grad is not None
    assert (layer.weight.grad != 0).any()
    with pytest.raises(UsageError, match="needs covariates"):
        head(replace(bags, covariates=None))


@pytest.mark.parametrize("fusion", FUSION)
@pytest.mark.parametrize("name", ["abmil", "max", "transmil"])
def test_explanations_keep_the_covariates(name: str, fusion: str) -> None:
    """The parts of a bag, in closed form or asked for, are what the head says of them."""
    torch.manual_seed(0)
    head = build_head(TrainSpec(head=name, hidden=8, attention=4), 6, 2).eval()
    head.take_covariates(3, fusion).weight.data.normal_()
    bag = random_bags()[1]
    rows = torch.tensor([1, 4, 6])
    with torch.inference_mode():
        expected = head(bag.parts(rows, torch.tensor([0, 3]))).logits
        torch.testing.assert_close(subsets_of(head, bag).only(rows).float(), expected, rtol=1e-4, atol=1e-5)
        first = head(bag.parts(torch.tensor([0]), torch.tensor([0, 1]))).logits[0]
        torch.testing.assert_close(of_each_alone(head, bag)[0], first, rtol=1e-4, atol=1e-5)
    for explain in EXPLAINERS.values():
        assert torch.isfinite(explain(head, bag, 1)).all()


@pytest.fixture(scope="module")
def clinic(write_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """48 slides of noise; the label follows from the age, which is missing of every eighth."""
    folder, random = tmp_path_factory.mktemp("clinic"), np.random.default_rng(0)
    lines = ["slide,patient,label,age,sex"]
    for number in range(48):
        write_store(folder / "run", f"s{number:02}", random.normal(size=(10, 8)).astype(np.float32))
        old = number % 2
        age = "" if number % 8 > 6 else f"{random.normal(70 if old else 50, 4):.1f}"
        lines.append(f"s{number:02},p{number},{'high' if old else 'low'},{age},{'fm'[number // 2 % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "run", folder / "labels.csv"


SPEC = TrainSpec(folds=3, epochs=40, hidden=16, attention=8, bootstrap=5, lr=5e-3)


@pytest.mark.parametrize("fusion", FUSION)
def test_a_label_that_follows_from_age_is_learned_with_it_and_not_without(
    clinic: tuple[Path, Path], tmp_path: Path, fusion: str, cli: Callable
) -> None:
    run, labels = clinic
    spec = replace(SPEC, covariates=("age", "sex"), fusion=fusion)
    report = train(run, labels, tmp_path / "with", spec)
    assert report.metrics["head"]["auroc"]["value"] > 0.9
    assert report.metrics["linear_probe"]["auroc"]["value"] > 0.8
    head = load_head(tmp_path / "with")
    slide = open_store(store_path(run, "s00"))
    with pytest.raises(UsageError, match=r"takes the covariates age, sex.*--covariates CSV"):
        predict_store(head, slide)
    written = {row["slide"]: row for row in _csv(tmp_path / "with" / "predictions.csv")}
    for p in predict_run(tmp_path / "with", run, out_of_fold=True, covariates=labels):
        assert float(written[p.slide]["p_low"]) == pytest.approx(p.probabilities[1], abs=1e-6)
        assert np.nansum(p.attention) == pytest.approx(1, abs=1e-5)
    young, old = (tmp_path / "young.csv", tmp_path / "old.csv")
    young.write_text("slide,age,sex\ns00,45,f\n")
    old.write_text("slide,age,sex\ns00,75,f\n")
    p_low = [predict_store(told_of(head, path), slide).probabilities[1] for path in (young, old)]
    assert p_low[0] > 0.5 > p_low[1]
    assert cli("predict", run, "--head", tmp_path / "with").code == 2
    ended = cli("predict", run, "--head", tmp_path / "with", "--covariates", young, "--json")
    assert ended.code == 3
    assert [row["slide"] for row in json.loads(ended.out)["predictions"]] == ["s00"]
    assert "no age, sex for slide s01" in ended.err


def _csv(path: Path) -> list[dict[str, str]]:
    import csv

    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_without_the_covariate_there_is_nothing_to_learn(clinic: tuple[Path, Path], tmp_path: Path) -> None:
    report = train(*clinic, tmp_path / "without", replace(SPEC, epochs=10))
    assert report.metrics["head"]["auroc"]["value"] < 0.75


def test_a_process_of_its_own_loads_them_too_and_a_changed_value_starts_afresh(
    clinic: tuple[Path, Path], tmp_path: Path
) -> None:
    run, labels, told = clinic[0], tmp_path / "labels.csv", list[int]()
    cases = Cases(run, {"s00": ("s00",)}, {"s00": (50.0, 0.0)})
    assert cases.loader(0)("s00").covariates.tolist() == [[50, 0]]  # type: ignore[union-attr]
    spec = replace(SPEC, folds=2, epochs=2, covariates=("age",))
    labels.write_text(clinic[1].read_text())

    def stop(report: object) -> None:
        if report.fold == 1:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(run, labels, tmp_path / "head", spec, stop)
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join([lines[0], "s00,p0,low,99,f", *lines[2:]]) + "\n")
    train(run, labels, tmp_path / "head", spec, lambda report: told.append(report.fold))
    assert set(told) == {0, 1}
