"""Runs that are stopped, by Ctrl-C or by force: what is finished stays, the next run does the rest."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from slidestream.features.layout import list_stores
from slidestream.features.store import open_store

from .conftest import REAL, Cli, Plant, Spawn, tree, written

IN_BATCHES = [*REAL, "--batch-size", "2"]


def complete(run: Path) -> list[str]:
    return [open_store(path).slide_id for path in list_stores(run)]


def test_after_kill_9_only_what_was_not_complete_is_redone(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path], plant: Plant, spawn: Spawn
) -> None:
    """Killed, with all its processes, when the second slide is half written."""
    slides, run = draw_slides("a", "b", "c", side=1200), tmp_path / "run"
    cli("run", slides, "-o", tmp_path / "whole", *IN_BATCHES, "--readers", 0)
    whole = tree(tmp_path / "whole/embeddings")
    planted = plant(
        'if event == "open" and str(given[0]).endswith(".b.zarr.partial/tissue/c/0"):\n'
        "    os.killpg(0, signal.SIGKILL)"
    )
    killed = spawn("run", slides, "-o", run, *IN_BATCHES, env=planted)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert complete(run) == ["a"]
    finished = written(run / "embeddings/a.zarr")
    ended = cli("run", slides, "-o", run, *IN_BATCHES, "--readers", 0)
    assert ended.code == 0
    assert "a: up to date" in ended.err
    assert tree(run / "embeddings") == whole
    assert written(run / "embeddings/a.zarr") == finished


@pytest.mark.usefixtures("in_this_process")
def test_ctrl_c_lets_the_write_finish_and_prints_the_command_that_resumes(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path], plant: Plant, spawn: Spawn
) -> None:
    """SIGINT to the whole group, as a terminal sends it, amid the commit of the first store."""
    slides, run = draw_slides("a", "b b", "c", side=1200), tmp_path / "the run"
    planted = plant(
        'if event == "open" and str(given[0]).endswith(".a.zarr.partial/tissue/c/0"):\n'
        "    os.killpg(0, signal.SIGINT)"
    )
    stopped = spawn("run", slides, "-o", run, *IN_BATCHES, env=planted)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, said
    assert "Traceback" not in said
    assert complete(run) == ["a"]
    assert not [path for path in (run / "embeddings").iterdir() if path.name.startswith(".a.zarr")]
    (line,) = (line for line in said.splitlines() if "To go on: " in line)
    name, *arguments = shlex.split(line.partition("To go on: ")[2])
    assert name == "slidestream"
    resumed = cli(*arguments)
    assert (resumed.code, "a: up to date" in resumed.err) == (0, True), resumed.err
    assert complete(run) == ["a", "b b", "c"]
