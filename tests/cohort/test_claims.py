"""Several runs on one run folder: each slide once, and a dead owner's claim is taken over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slidestream.cohort import claims as module
from slidestream.cohort.claims import Claims
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.plan import Step
from slidestream.cohort.process import Outcome
from slidestream.cohort.run import RunOrder, run_cohort, verify_run
from slidestream.tiling.spec import PatchSpec


class Told:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def planned(self, step: Step) -> None:
        self.reasons.append(step.reason)

    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


def order(slides: Path, run: Path) -> RunOrder:
    config = RunConfig("null", PatchSpec(32, 1.0))
    return RunOrder(find_inputs([slides]).inputs, config, run, Execution(readers=0))


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for seed in range(4):
        write_slide(folder / f"s{seed}.tiff", tissue_pixels(900, seed), 0.5)
    return folder


def plant(run: Path, slide_id: str, *owner: Any, silent: float = 0.0) -> None:
    """Write a claim of somebody else: host, pid, born."""
    with Claims(run)._table() as table:
        table.execute(module._TABLE)
        values = [slide_id, *owner, time.time() - silent]
        table.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", values)


HERE = socket.gethostname()


@pytest.fixture
def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_what_an_ended_run_of_this_process_could_not_give_back_is_free(tmp_path: Path) -> None:
    """As after a full disk, which keeps the row from being deleted."""
    plant(tmp_path, "a", HERE, os.getpid(), module._born(os.getpid()))
    with Claims(tmp_path) as ours, Claims(tmp_path) as theirs:
        assert ours.take("a")
        assert not theirs.take("a")
        ours.give_back("a")
        assert theirs.take("a")


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    with Claims(tmp_path) as ours, Claims(tmp_path) as theirs:
        theirs._me = (HERE, os.getppid(), module._born(os.getppid()))
        assert ours.take("a")
        assert not theirs.take("a")
        assert theirs.take("b")
        ours.give_back("a")
        assert theirs.take("a")


@pytest.mark.skipif(sys.platform != "linux", reason="start times are read from /proc")
def test_the_dead_lose_their_claims_and_the_living_keep_them(
    tmp_path: Path, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getppid()
    plant(tmp_path, "dead", HERE, dead_pid, "1")
    plant(tmp_path, "reused", HERE, parent, "1")
    plant(tmp_path, "living", HERE, parent, module._born(parent))
    plant(tmp_path, "far", "another", 1, "")
    plant(tmp_path, "silent", "another", 1, "", silent=module.DEAD_AFTER_SECONDS + 1)
    with Claims(tmp_path) as ours:
        names = ("dead", "reused", "living", "far", "silent")
        taken = {name for name in names if ours.take(name)}
    assert taken == {"dead", "reused", "silent"}


WANTING = """
import sys
from pathlib import Path
from slidestream.cohort.claims import Claims
with Claims(Path(sys.argv[1])) as claims:
    print("ready", flush=True); sys.stdin.readline()
    print(*(n for n in range(40) if claims.take(str(n))), flush=True); sys.stdin.readline()
"""


def test_of_many_who_want_a_dead_owners_claim_one_gets_it(tmp_path: Path, dead_pid: int) -> None:
    for number in range(40):
        plant(tmp_path, str(number), HERE, dead_pid, "1")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    rivals = [subprocess.Popen([sys.executable, "-c", WANTING, str(tmp_path)], **pipes) for _ in range(3)]
    got: list[str] = []
    for rival in rivals:
        assert rival.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for rival in rivals:
        rival.stdin.write("\n")  # type: ignore[union-attr]
        rival.stdin.flush()  # type: ignore[union-attr]
    for rival in rivals:
        got += rival.stdout.readline().split()  # type: ignore[union-attr]
    for rival in rivals:
        rival.communicate("\n", timeout=20)
    assert sorted(got, key=int) == [str(number) for number in range(40)]


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_claims import Told, order
from slidestream.cohort.run import run_cohort
print("ready", flush=True); sys.stdin.readline()
told = Told()
summary = run_cohort(order(Path(sys.argv[1]), Path(sys.argv[2])), told)
print(*(outcome.slide_id for outcome in summary.outcomes))
"""


def test_two_runs_at_once_do_each_slide_once(slides: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(slides), str(tmp_path / "run"), str(Path(__file__).parent)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in runs:
        assert process.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for process in runs:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    done = [process.communicate(timeout=60)[0].split() for process in runs]
    assert [process.returncode for process in runs] == [0, 0]
    assert sorted(done[0] + done[1]) == ["s0", "s1", "s2", "s3"]
    assert not any(problems for _, problems in verify_run(tmp_path / "run"))


def test_a_slide_claimed_by_another_is_waited_for(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done here once its owner has died without finishing it."""
    monkeypatch.setattr("slidestream.cohort.run.WAIT_SECONDS", 0.05)
    run = tmp_path / "run"
    run.mkdir()
    parent = os.getppid()
    plant(run, "s1", HERE, parent, module._born(parent))
    threading.Timer(0.5, plant, (run, "s1", HERE, parent, "died")).start()
    summary = run_cohort(order(slides, run), Told())
    assert [outcome.slide_id for outcome in summary.outcomes] == ["s0", "s2", "s3", "s1"]
