"""A real slide, killed at twenty random moments of its run: resumed, the same bytes each time."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slidestream.features.layout import list_stores
from slidestream.features.verify import verify_store

PARTS, TIMES = 10, 2

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def start(slide: Path, run: Path) -> subprocess.Popen[bytes]:
    """About 490 patches, in batches of 8: many moments between two of them."""
    options = ["--patch-size", "64", "--mpp", "7", "--force-spacing", "--batch-size", "8", "--device", "cpu"]
    command = [sys.executable, "-m", "slidestream", "run", str(slide), "-o", str(run), *options]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, **quiet, start_new_session=True)


def wait_for_work(run: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the run has begun to write, which is after all libraries have been loaded."""
    while not (run / "embeddings").exists() and process.poll() is None:
        time.sleep(0.005)


@dataclass(frozen=True)
class Oracle:
    """What an uninterrupted run writes, and how many seconds it writes for."""

    slide: Path
    stores: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def oracle(real: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    slide, run = real("wsi/P-2_carotid_zoomify.tiff"), tmp_path_factory.mktemp("whole") / "run"
    whole = start(slide, run)
    wait_for_work(run, whole)
    begun = time.monotonic()
    assert whole.wait() == 0
    return Oracle(slide, tree(run / "embeddings"), time.monotonic() - begun)


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_random_a_real_slide_resumes_to_the_same_bytes(
    oracle: Oracle, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: int
) -> None:
    rng = random.Random(part)
    equal = unfinished = 0
    for number in range(TIMES):
        run = tmp_path / str(number)
        victim = start(oracle.slide, run)
        wait_for_work(run, victim)
        time.sleep(rng.uniform(0, oracle.seconds))
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
        unfinished += not list_stores(run)
        assert all(verify_store(path) == [] for path in list_stores(run))
        assert start(oracle.slide, run).wait() == 0
        equal += tree(run / "embeddings") == oracle.stores
        shutil.rmtree(run)
    with capsys.disabled():
        sys.stdout.write(f"\n{equal} of {TIMES} equal, {unfinished} killed before the store stood\n")
    assert equal == TIMES
