"""Several devices: a process for each, every input once, and the stores of one device."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from slidestream.cohort import devices as module
from slidestream.cohort import gpus, process
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.gpus import devices_for, devices_of, gpu_of, on_device
from slidestream.cohort.inputs import Input, find_inputs
from slidestream.cohort.job import Job, Outcome
from slidestream.cohort.run import RunOrder, Summary, run_cohort
from slidestream.errors import DiskFull, EnvironmentProblem, UsageError
from slidestream.features.cards import NULL
from slidestream.features.encoder import load_encoder, resolve_device
from slidestream.features.writer import StoreWriter
from slidestream.tiling.spec import PatchSpec

from .hostile import Silent

CONFIG = RunConfig("texture", PatchSpec(64, 1.0, min_tissue=0.0))


class Watching(Silent):
    def __init__(self) -> None:
        self.ended: list[str] = []
        self.seen: dict[str, list[int]] = {}

    def patches(self, slide_id: str, done: int, total: int) -> None:
        self.seen.setdefault(slide_id, []).append(done)

    def finished(self, outcome: Outcome) -> None:
        self.ended.append(outcome.slide_id)


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for seed in range(3):
        write_slide(folder / f"s{seed}.tiff", tissue_pixels(600, seed), 0.5)
    return folder


def run(
    slides: Path, folder: Path, device: str, config: RunConfig = CONFIG, watcher: Any = None, **means: Any
) -> Summary:
    execution = Execution(**{"device": device, "batch_size": 8, "readers": 1} | means)
    order = RunOrder(find_inputs([slides]).inputs, config, folder, execution)
    return run_cohort(order, watcher or Silent())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_processes_make_the_stores_of_one(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slides / "text.svs").write_text("no slide")
    alone = run(slides, tmp_path / "alone", "cpu", readers=0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    started: list[Any] = []
    spawned = module.spawned

    def watched(*given: Any, **how: Any) -> Any:
        started.append(spawned(*given, **how))
        return started[-1]

    monkeypatch.setattr(module, "spawned", watched)
    watcher = Watching()
    both = run(slides, tmp_path / "both", "cpu,cpu", watcher=watcher)
    assert len(started) == 2
    assert sorted(watcher.ended) == sorted(outcome.slide_id for outcome in alone.outcomes)
    assert {o.slide_id: (o.status, o.code, o.patches) for o in both.outcomes} == {
        o.slide_id: (o.status, o.code, o.patches) for o in alone.outcomes
    }
    assert all(done[-1] == 16 for done in watcher.seen.values())
    assert len(watcher.seen) == 3
    assert tree(tmp_path / "both/embeddings") == tree(tmp_path / "alone/embeddings")
    assert multiprocessing.active_children() == []


class InThread:
    """In the place of a process: a thread of this one, so that its devices can be pretended."""

    exitcode = 0

    def __init__(self, target: Callable[..., None], given: tuple[Any, ...], daemon: bool) -> None:
        assert not daemon, "it reads slides in processes of its own"
        pipe, *others = given
        mine = Connection(os.dup(pipe.fileno()))  # as a process gets its own end of a pipe

        def work() -> None:
            with suppress(SystemExit):
                target(mine, *others)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def terminate(self) -> None: ...

    def join(self, timeout: float = 20) -> None:
        self._thread.join(timeout)
        assert not self._thread.is_alive()


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "spawned", InThread)
    monkeypatch.setattr(module, "deaf", lambda: None)
    monkeypatch.setattr(module.os, "_exit", sys.exit)


@pytest.mark.usefixtures("in_threads")
def test_each_encodes_on_its_own_device_while_others_do(
    slides: Path, tmp_path: Path, mean_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three pretended GPUs meet in their first batch, which none could if they took turns."""
    used: dict[str, int] = {}
    meeting = threading.Barrier(3, timeout=20)

    class Embedder:
        ahead = 0

        def __init__(self, device: str) -> None:
            self._device, self._encoder = device, load_encoder(mean_encoder)

        def begin(self, pixels: Any, _: Any) -> Any:
            if self._device not in used:
                used[self._device] = 0
                meeting.wait()
            used[self._device] += len(pixels)
            embedded = self._encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
            return lambda: embedded

    monkeypatch.setattr(process, "cached_embedder", lambda _, device, __: Embedder(device))
    config = RunConfig(mean_encoder, CONFIG.patch)
    summary = run(slides, tmp_path / "run", "cuda:0, cuda:1,cuda:3", config, readers=0)
    assert len(summary.outcomes) == 3
    assert not summary.failures
    assert set(used) == {"cuda:0", "cuda:1", "cuda:3"}
    assert sum(used.values()) == 3 * 16, "no patch twice"


@pytest.mark.usefixtures("in_threads", "mean_encoder")
def test_a_full_disk_ends_them_all(slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise DiskFull("There is no space left.")

    monkeypatch.setattr(StoreWriter, "commit", full)
    with pytest.raises(DiskFull):
        run(slides, tmp_path / "run", "cpu,cpu", RunConfig("mean", CONFIG.patch), readers=0)


def test_a_process_that_dies_is_said(slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawned = module.spawned
    monkeypatch.setattr(module, "spawned", lambda *_, daemon: spawned(os._exit, (7,), daemon))
    with pytest.raises(EnvironmentProblem, match=r"computes on cpu ended \(exit code 7\)"):
        run(slides, tmp_path / "run", "cpu,cpu")
    assert multiprocessing.active_children() == []


def test_which_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices_of("cuda:1") == ["cuda:1"]
    assert devices_of("cuda:0, cuda:2") == ["cuda:0", "cuda:2"]
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    assert gpu_of("auto") == ""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    assert devices_of("auto") == ["auto"], "torch was not asked"
    assert gpu_of("auto") == "cuda"
    monkeypatch.setattr(torch, "empty", lambda size, device: None)  # as if it were there
    assert (gpu_of("cuda:1"), gpu_of("cpu")) == ("cuda:1", "")
    (tmp_path / "nvidia1").touch()
    assert devices_of("auto") == ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices_of("auto") == ["auto"], "only one of them is for us"


def test_no_more_devices_than_inputs(tmp_path: Path) -> None:
    def jobs(count: int, **facts: Any) -> list[Job]:
        execution = Execution(device="cuda:0,cuda:1,cuda:2")
        return [Job(Input(f"{n}", "x"), CONFIG, tmp_path, execution, **facts) for n in range(count)]

    assert [len(devices_for(jobs(count))) for count in (0, 1, 2, 9)] == [0, 1, 2, 3]
    assert devices_for(jobs(9, card=NULL)) == ["cpu"], "nothing is computed"
    (first, second) = jobs(2)
    moved = on_device(Job(first.input, CONFIG, tmp_path, first.execution, others=(second,)), "cuda:1")
    assert [job.execution.device for job in moved.members] == ["cuda:1", "cuda:1"]


def test_where_one_device_is_needed(slides: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than one device"):
        resolve_device("cuda:0,cuda:1")
    order = RunOrder(
        find_inputs([slides]).inputs, CONFIG, tmp_path, Execution(device="cuda:0,cuda:1"), "tcp://x"
    )
    with pytest.raises(UsageError, match="On Dask"):
        run_cohort(order, Silent())
