"""Bags of npz files, from other tools, train as those of stores do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from slidestream.errors import ContractMismatch, InputError, UsageError
from slidestream.mil.source import NpzSource, StoreSource, bag_source
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

SPEC = TrainSpec(folds=3, epochs=4, hidden=16, attention=8, bootstrap=5, allow_duplicates=True)


def test_a_file_is_one_bag_or_several(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.float64).reshape(8, 3)
    coords = np.arange(16).reshape(8, 2) * 256
    np.savez(tmp_path / "one.npz", features=x.astype(np.float16), coords=coords)
    np.savez(tmp_path / "many.npz", X=x, bag=np.array([3, 3, 5, 3, 5, 5, 5, 3]))
    source = bag_source(tmp_path)
    assert isinstance(source, NpzSource)
    assert source.slides == ["many-3", "many-5", "one"]
    one, many = source.load("one"), source.load("many-3")
    assert one.features.dtype == torch.float16
    np.testing.assert_array_equal(one.coords, coords)
    assert many.features.dtype == torch.float32
    np.testing.assert_array_equal(many.features, x[[0, 1, 3, 7]])
    assert [source.count(slide) for slide in source.slides] == [4, 4, 8]
    assert source.identity("one") != source.identity("many-3")


def test_a_folder_with_stores_is_a_run_folder(cohort: tuple[Path, Path]) -> None:
    assert isinstance(bag_source(cohort[0]), StoreSource)
    assert isinstance(bag_source(cohort[0] / "nothing"), StoreSource)


@pytest.mark.parametrize(
    "arrays",
    [
        {"Y": np.ones((3, 2))},
        {"X": np.ones(3)},
        {"X": np.ones((3, 2), int)},
        {"X": np.array([{}])},
        {"X": np.ones((3, 2)), "coords": np.ones(3)},
        {"X": np.ones((3, 2)), "coords": np.ones((2, 2))},
        {"X": np.ones((3, 2)), "coords": np.full((3, 2), np.nan)},
        {"X": np.ones((3, 2)), "coords": np.full((3, 2), 1e12)},
        {"X": np.ones((3, 2)), "bag": np.array(["a", "a", "b"])},
        {"X": np.ones((3, 2)), "bag": np.array([1.2, 1.2, 1.5])},
    ],
)
def test_arrays_that_make_no_bag_are_refused(arrays: dict, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UsageError, match=r"a\.npz") as refused:
        bag_source(tmp_path).load("a")
    assert "features (N, D)" in refused.value.fix


def test_two_files_may_not_hold_one_bag(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), bag=np.array([1.0, 1.0, 2.0]))
    assert bag_source(tmp_path).slides == ["a-1", "a-2"]
    np.savez(tmp_path / "a-1.npz", X=np.ones((3, 2)))
    with pytest.raises(UsageError, match="both hold bag a-1"):
        bag_source(tmp_path).slides  # noqa: B018 - reading the property opens the files


def test_broken_files_and_broken_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.array([[1.0, np.nan]]))
    with pytest.raises(InputError, match="NaN"):
        bag_source(tmp_path).load("a")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(UsageError, match="cannot be read as npz"):
        bag_source(tmp_path).slides  # noqa: B018 - reading the property opens the files


def test_mixed_lengths_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)))
    np.savez(tmp_path / "b.npz", X=np.ones((3, 4)))
    (tmp_path / "labels.csv").write_text("slide,patient,label\na,p,0\nb,q,1\n")
    with pytest.raises(ContractMismatch, match="dim"):
        train(tmp_path, tmp_path / "labels.csv", tmp_path / "head", SPEC)


def test_npz_train_to_what_the_same_stores_train_to(cohort: tuple[Path, Path], tmp_path: Path) -> None:
    stores = StoreSource(cohort[0])
    for slide in stores.slides:
        bag = stores.load(slide)
        np.savez(tmp_path / f"{slide}.npz", features=bag.features.numpy(), coords=bag.coords.numpy())
    ours = train(*cohort, tmp_path / "head", SPEC)
    theirs = train(tmp_path, cohort[1], tmp_path / "other", SPEC)
    assert ours.metrics == theirs.metrics
    for fold in range(3):
        name = f"fold-{fold}.safetensors"
        assert (tmp_path / "head" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_the_benchmark_bags_are_read(real: Callable[[str], Path]) -> None:
    path = real("features/mil_musk1.npz")
    source = NpzSource(path.parent)
    data = np.load(path)
    assert sum(slide.startswith("mil_musk1-") for slide in source.slides) == len(data["bag_id"])
    first = data["bag_id"][0]
    expected = data["X"][data["bag"] == first].astype(np.float32)
    np.testing.assert_allclose(source.load(f"mil_musk1-{first}").features, expected)
