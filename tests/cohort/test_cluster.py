"""A scheduler and two workers as separate processes: the same stores as in this process."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slidestream.cohort import cluster as module
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.errors import EnvironmentProblem
from slidestream.tiling.spec import PatchSpec

pytest.importorskip("distributed", reason="needs slidestream[dask]")


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler on loopback with two workers, which know the openers of `hostile`.

    They are started anew when they die; an input has one more chance when two have died of it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    folder = tmp_path_factory.mktemp("dask")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    quiet["env"] = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    }
    quiet["start_new_session"] = True
    dask = [sys.executable, "-m", "dask"]
    place = ["--host", address, "--no-dashboard"]
    processes = [subprocess.Popen([*dask, "scheduler", *place], **quiet)]
    worker = [*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
    processes += [subprocess.Popen(worker, **quiet) for _ in range(2)]
    try:
        _wait_for_workers(address)
        yield address
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)  # to say goodbye takes them seconds
            process.wait(timeout=30)


def _wait_for_workers(address: str) -> None:
    from distributed import Client

    deadline = time.monotonic() + 60
    while True:
        try:
            with Client(address, timeout="5s", set_as_default=False) as client:
                client.wait_for_workers(2, timeout=45)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise


def test_stores_equal_those_of_this_process(
    scheduler: str, tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]
) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    for seed in range(3):
        write_slide(slides / f"s{seed}.tiff", tissue_pixels(700, seed), 0.5)
    write_slide(slides / "no-mpp.tiff", np.zeros((300, 300, 3), np.uint8), None)
    inputs = find_inputs([slides]).inputs
    config = RunConfig("texture", PatchSpec(96, 1.0), force_spacing=True)
    means = Execution(readers=0)
    here = run_cohort(RunOrder(inputs, config, tmp_path / "here", means), Silent())
    there = run_cohort(RunOrder(inputs, config, tmp_path / "there", means, scheduler), Silent())
    kept = ("slide_id", "status", "patches", "code", "cause", "fix")
    endings = [
        sorted([outcome.to_dict()[key] for key in kept] for outcome in s.outcomes) for s in (here, there)
    ]
    assert endings[0] == endings[1]
    assert [outcome.code for outcome in there.failures] == ["MPP_MISSING"]
    files = sorted(p.relative_to(tmp_path / "here") for p in (tmp_path / "here/embeddings").rglob("*"))
    assert files == sorted(
        p.relative_to(tmp_path / "there") for p in (tmp_path / "there/embeddings").rglob("*")
    )
    assert len([f for f in files if f.suffix == ".zarr"]) == 3
    for name in (f for f in files if (tmp_path / "here" / f).is_file()):
        if "features" not in name.parts and name.name != "zarr.json":
            assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name
    from slidestream.features.store import open_store

    for seed in range(3):
        a, b = (open_store(tmp_path / at / f"embeddings/s{seed}.zarr") for at in ("here", "there"))
        # The workers use one thread each; sums in another order differ in the last digits.
        np.testing.assert_allclose(a.features(), b.features(), rtol=1e-4, atol=1e-5)
        same = {
            key: value for key, value in a.attributes.items() if key not in ("checksums", "metadata_sha256")
        }
        assert same == {key: b.attributes[key] for key in same}


def test_no_scheduler_is_said_so(
    tmp_path: Path, write_slide: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    slide = write_slide(tmp_path / "a.tiff", np.zeros((300, 300, 3), np.uint8), 0.5)
    order = RunOrder(
        find_inputs([slide]).inputs, RunConfig("null"), tmp_path / "run", Execution(), "tcp://127.0.0.1:9"
    )
    with pytest.raises(EnvironmentProblem, match="No Dask scheduler answers"):
        run_cohort(order, Silent())


def test_a_worker_that_dies_and_a_poison_slide(
    scheduler: str,
    tmp_path: Path,
    write_slide: Callable[..., Path],
    tissue_pixels: Callable[..., Any],
    monkeypatch: Any,
) -> None:
    """`once` ends the first worker that reads it, `crash` every one; the others are read once, by one worker.

    Workers are processes that take one input at a time and are started anew when they die: seconds each.
    """
    monkeypatch.syspath_prepend(Path(__file__).parent)
    hostile = importlib.import_module("hostile")
    slides = tmp_path / "slides"
    slides.mkdir()
    good = ["a", "b", "c", "d"]
    for seed, name in enumerate([*good, "crash", "once"]):
        write_slide(slides / f"{name}.tiff", tissue_pixels(700, seed), 0.5)
    inputs, config = find_inputs([slides]).inputs, RunConfig("null", PatchSpec(64, 1.0, min_tissue=0.0))
    means = Execution(batch_size=4, readers=0)
    alone = [item for item in inputs if item.slide_id != "crash"]
    run_cohort(RunOrder(alone, config, tmp_path / "here", means), Silent())
    order = RunOrder(inputs, config, tmp_path / "there", means, scheduler, hostile.open_hostile)
    summary = run_cohort(order, Silent())
    assert len(summary.outcomes) == 6
    assert {o.slide_id: o.code for o in summary.outcomes if o.code} == {"crash": "WORKER_DIED"}

    def readers(name: str) -> int:
        return len({line.split()[0] for line in (slides / f"{name}.reads").read_text().splitlines()})

    assert [readers(name) for name in good] == [1, 1, 1, 1]
    assert readers("once") == 2
    # Two workers alone, and two beside others or fewer: the scheduler also counts deaths while it queued.
    assert 2 <= readers("crash") <= 4
    assert tree(tmp_path / "there/embeddings") == tree(tmp_path / "here/embeddings")
