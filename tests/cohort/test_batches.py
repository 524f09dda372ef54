"""The batch size that nobody gave: what pays on a GPU, measured once, and 32 on a processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slidestream.cohort import batches
from slidestream.cohort.batches import FILE, settled
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.job import Job
from slidestream.errors import UsageError
from slidestream.features import batching
from slidestream.features.batching import LARGEST, batch_that_pays

Speed = Callable[[int], float]


def saturating(full: int) -> Speed:
    """Proportional to the batch up to there, and no faster beyond."""
    return lambda size: float(min(size, full))


def memory_for(most: int) -> Speed:
    """Ever faster, up to what fits."""

    def speed(size: int) -> float:
        if size > most:
            raise torch.OutOfMemoryError
        return float(size)

    return speed


@pytest.mark.parametrize(
    ("speed", "found"),
    [
        (saturating(1), 32),
        (saturating(64), 64),
        (saturating(200), 256),
        (saturating(10_000), LARGEST),
        (memory_for(150), 128),
        (memory_for(4), 32),
        (lambda size: 100 - 1000 / size, 256),
    ],
)
def test_it_grows_as_long_as_that_pays(speed: Speed, found: int) -> None:
    assert batch_that_pays(speed) == found


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was measured, on a GPU that is made up."""
    asked: list[Any] = []
    monkeypatch.setattr(torch, "empty", lambda size, device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu: f"H200 at {gpu}")
    monkeypatch.setattr(batches, "cached_embedder", lambda *given: given)

    def measure(embedder: Any, gpu: str, side: int) -> int:
        asked.append((embedder, gpu, side))
        return {"small": 256, "large": 64}[embedder[0]]

    monkeypatch.setattr(batching, "measured_batch", measure)
    return asked


def job(run: Path, encoder: str, **means: Any) -> Job:
    execution = Execution(**{"batch_size": 0, "device": "cuda:1"} | means)
    return Job(Input("a", "a.tiff"), RunConfig(encoder), run, execution)


def test_it_is_measured_once_for_a_run_folder(tmp_path: Path, measured: list[Any]) -> None:
    first = [job(tmp_path, "small"), job(tmp_path, "small")]
    assert [j.execution.batch_size for j in settled(first)] == [256, 256]
    assert measured == [(("small", "cuda:1", "fp32"), "cuda:1", 224)]
    assert (tmp_path / FILE).is_file()
    assert [j.execution.batch_size for j in settled(first)] == [256, 256]
    assert len(measured) == 1, "remembered, also by the next run"
    settled([replace(first[0], config=replace(first[0].config, precision="bf16"))])
    settled([job(tmp_path, "small", device="cuda:0")])
    assert len(measured) == 3, "another precision, another GPU"
    (tmp_path / FILE).write_text("[")
    assert settled(first)[0].execution.batch_size == 256


def test_encoders_of_one_pass_share_the_smallest(tmp_path: Path, measured: list[Any]) -> None:
    both = replace(job(tmp_path / "a", "small"), others=(job(tmp_path / "b", "large"),))
    (found,) = settled([both])
    assert [member.execution.batch_size for member in found.members] == [64, 64]


def test_who_asks_gets_that_and_a_processor_the_usual(tmp_path: Path, measured: list[Any]) -> None:
    assert settled([job(tmp_path, "small", batch_size=7)])[0].execution.batch_size == 7
    assert settled([job(tmp_path, "small", device="cpu")])[0].execution.batch_size == 32
    assert settled([]) == []
    assert not measured
    with pytest.raises(UsageError, match="batch_size"):
        Execution(batch_size=-1)
