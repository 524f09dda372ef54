"""Predictions: what was trained is what is loaded, and an out-of-fold head never saw the slide."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import ContractMismatch, InputError, StoreIncomplete
from slidestream.features.layout import store_path
from slidestream.features.store import Store, open_store
from slidestream.mil.artifact import load_head
from slidestream.mil.predict import predict_run, predict_store
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

SPEC = TrainSpec(folds=3, epochs=40, bootstrap=10)
Cohort = tuple[Path, Path]


@pytest.fixture(scope="module")
def trained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """A run folder and a head folder trained on it."""
    head = tmp_path_factory.mktemp("trained") / "head"
    train(*cohort, head, SPEC)
    return cohort[0], head


def store(run: Path, slide: str) -> Store:
    return open_store(store_path(run, slide))


def test_out_of_fold_predictions_of_a_loaded_head_are_those_of_training(trained: Cohort) -> None:
    run, head = trained
    with open(head / "predictions.csv", newline="") as file:
        written = {row["slide"]: row for row in csv.DictReader(file)}
    predictions = list(predict_run(head, run, out_of_fold=True))
    assert [p.slide for p in predictions] == sorted(written)
    for p in predictions:
        row = written[p.slide]
        assert p.folds == (int(row["fold"]),)
        assert p.predicted == row["predicted"]
        assert p.probabilities.tolist() == pytest.approx(
            [float(row["p_normal"]), float(row["p_tumour"])], abs=1e-7
        )
        assert p.spread.tolist() == [0, 0]


def test_the_ensemble_is_the_mean_of_its_heads(trained: Cohort) -> None:
    run, head = trained
    p = predict_store(load_head(head), store(run, "s02"))
    assert p.folds == (0, 1, 2)
    assert p.fold_probabilities.shape == (3, 2)
    np.testing.assert_allclose(p.fold_probabilities.sum(1), 1)
    np.testing.assert_allclose(p.probabilities, p.fold_probabilities.mean(0))
    np.testing.assert_allclose(p.spread, p.fold_probabilities.std(0))


def test_attention_is_aligned_with_the_store_and_finds_what_was_planted(trained: Cohort) -> None:
    run, head = trained
    slide = store(run, "s02")
    p = predict_store(load_head(head), slide)
    assert p.predicted == "tumour"
    assert p.attention.shape == slide.status().shape
    np.testing.assert_array_equal(np.isnan(p.attention), slide.status() != 0)
    assert np.nansum(p.attention) == pytest.approx(1, abs=1e-5)
    tumour = len(p.attention) // 5
    assert np.nanmean(p.attention[:tumour]) > np.nanmean(p.attention[tumour:])


def test_the_out_of_fold_head_never_saw_the_slide(
    trained: Cohort, own_cohort: Cohort, write_store: Callable[..., Path], planted: tuple, tmp_path: Path
) -> None:
    """Other embeddings of a slide must not move one bit of the head that held its fold out."""
    head = trained[1]
    (fold,) = load_head(head).folds_of_slide["s05"]
    write_store(own_cohort[0], "s05", planted[0]["s05"][::-1] * 5 + 2, bad=(3,))
    train(*own_cohort, tmp_path / "changed", SPEC)
    weights = [f"fold-{number}.safetensors" for number in range(SPEC.folds)]
    same = [(head / name).read_bytes() == (tmp_path / "changed" / name).read_bytes() for name in weights]
    assert same[fold]
    assert not all(same)


def test_training_slides_are_known_by_content_or_name_and_others_ask_all(
    trained: Cohort, write_store: Callable[..., Path], planted: tuple, tmp_path: Path
) -> None:
    run, head = trained
    loaded = load_head(head)
    x = planted[0]["s07"]
    original = store(run, "s07").attributes["source"]
    renamed = open_store(write_store(tmp_path / "more", "renamed", x, source=original))
    rescanned = open_store(write_store(tmp_path / "more", "s07", x, source=original | {"identity": "new"}))
    unknown = open_store(write_store(tmp_path / "more", "unknown", x))
    held_out = loaded.folds_of_slide["s07"]
    assert len(held_out) == 1
    assert predict_store(loaded, renamed, out_of_fold=True).folds == held_out
    assert predict_store(loaded, rescanned, out_of_fold=True).folds == held_out
    assert predict_store(loaded, unknown, out_of_fold=True).folds == (0, 1, 2)


def test_other_embeddings_are_refused_with_the_fields(
    trained: Cohort, write_store: Callable[..., Path], tmp_path: Path
) -> None:
    run, head = trained
    card = store(run, "s00").attributes["encoder"]
    x = np.ones((4, 8), np.float32)
    write_store(tmp_path / "uni", "a", x, encoder=card | {"name": "uni"})
    with pytest.raises(ContractMismatch, match=r'encoder.name: "texture" != "uni"'):
        list(predict_run(head, tmp_path / "uni", failed=lambda path, error: None))
    write_store(tmp_path / "fine", "a", x, patch={"size_px": 224, "spacing": 0.5})
    with pytest.raises(ContractMismatch, match=r"patch.spacing: 1.0 != 0.5"):
        list(predict_run(head, tmp_path / "fine"))


def test_one_bad_slide_fails_alone(
    trained: Cohort, own_cohort: Cohort, write_store: Callable[..., Path]
) -> None:
    run, head = own_cohort[0], trained[1]
    write_store(run, "empty", np.ones((2, 8), np.float32), bad=(0, 1))
    (store_path(run, "s04") / "zarr.json").unlink()
    told: dict[str, type] = {}
    predictions = list(
        predict_run(head, run, failed=lambda path, error: told.update({path.stem: type(error)}))
    )
    assert told == {"empty": InputError, "s04": StoreIncomplete}
    assert len(predictions) == 23
    with pytest.raises(InputError):
        list(predict_run(head, run))


def test_a_head_folder_can_be_moved(trained: Cohort, tmp_path: Path) -> None:
    run, head = trained
    before = predict_store(load_head(head), store(run, "s01"))
    shutil.copytree(head, tmp_path / "elsewhere")
    after = predict_store(load_head(tmp_path / "elsewhere"), store(run, "s01"))
    np.testing.assert_array_equal(before.fold_probabilities, after.fold_probabilities)
    np.testing.assert_array_equal(before.attention, after.attention)
