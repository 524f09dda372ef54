"""Ragged bags: what goes in comes out, and nothing empty or unreadable gets in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from slidestream.errors import InputError, UsageError
from slidestream.features.store import open_store
from slidestream.mil.bags import Bags, bag_from_store
from slidestream.mil.cache import BagCache


def bag(rows: int, first: float = 0.0) -> Bags:
    x = torch.arange(rows * 3, dtype=torch.float32).reshape(rows, 3) + first
    return Bags.single(x, torch.arange(rows * 2, dtype=torch.int32).reshape(rows, 2))


def test_bags_come_apart_as_they_were_put_together() -> None:
    singles = [bag(2), bag(1, 50), bag(4, 100)]
    together = Bags.of(singles)
    assert together.offsets.tolist() == [0, 2, 3, 7]
    assert len(together) == 3
    for single, again in zip(singles, (together[i] for i in range(3)), strict=True):
        assert torch.equal(single.features, again.features)
        assert torch.equal(single.coords, again.coords)
        assert again.offsets.tolist() == [0, len(single.features)]
    assert torch.equal(
        together.select([2, 0]).features, torch.cat([singles[2].features, singles[0].features])
    )
    with pytest.raises(IndexError):
        together[3]


@pytest.mark.parametrize("offsets", [[0, 2, 2, 3], [0, 2], [1, 3], [0]])
def test_bags_that_are_empty_or_do_not_fit_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match=r"empty|offsets"):
        Bags(torch.zeros(3, 2), torch.tensor(offsets), torch.zeros(3, 2))


def test_a_sample_is_a_subset_of_each_bag_in_order() -> None:
    together = Bags.of([bag(30), bag(3, 1000)])
    sampled = together.sample(10)
    assert sampled.counts.tolist() == [10, 3]
    firsts = sampled[0].features[:, 0]
    assert (firsts.diff() > 0).all()
    assert set(firsts.tolist()) <= set(together[0].features[:, 0].tolist())
    assert torch.equal(sampled[1].features, together[1].features)


def test_unreadable_rows_never_reach_a_bag(write_store: Callable[..., Path], tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    single = bag_from_store(open_store(write_store(tmp_path, "a", x, bad=(0, 7))))
    kept = [1, 2, 3, 4, 5, 6, 8, 9]
    np.testing.assert_array_equal(single.features.numpy(), x[kept])
    np.testing.assert_array_equal(single.coords[:, 0].numpy(), np.array(kept) * 100)


def test_stores_that_make_no_bag_say_why(write_store: Callable[..., Path], tmp_path: Path) -> None:
    nothing = open_store(write_store(tmp_path, "a", np.ones((2, 4), np.float32), bad=(0, 1)))
    with pytest.raises(InputError, match="no patch with an embedding"):
        bag_from_store(nothing)
    infinite = open_store(write_store(tmp_path, "b", np.full((2, 4), np.inf, np.float32)))
    with pytest.raises(InputError, match="NaN or infinite"):
        bag_from_store(infinite)
    null = open_store(write_store(tmp_path, "c", np.ones((2, 0), np.float32)))
    with pytest.raises(UsageError, match="without embeddings"):
        bag_from_store(null)


def test_the_cache_keeps_the_first_that_fit_and_lets_the_others_pass() -> None:
    asked: list[str] = []

    def load(slide: str) -> Bags:
        asked.append(slide)
        return bag(200 if slide == "large" else 10)

    small = bag(10).nbytes
    cache = BagCache(load, max_bytes=2 * small)
    for slide in ("large", "a", "b", "a", "c", "b", "large", "c", "a"):
        assert cache(slide).nbytes == (bag(200).nbytes if slide == "large" else small)
        assert cache.nbytes <= 2 * small
    assert asked == ["large", "a", "b", "c", "large", "c"]
