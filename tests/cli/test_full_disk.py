"""The disk, or what a process may write, is used up amid a run: exit 5, and finished slides are intact."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slidestream.features.layout import store_path
from slidestream.features.verify import verify_store

from ..conftest import call_main

resource = pytest.importorskip("resource", reason="no limits of processes here")

Cli = Callable[..., Any]
Draw = Callable[..., Any]

OPTIONS = ["--patch-size", "64", "--overlap", "0.5", "--mpp", "0.5", "--force-spacing", "--device", "cpu"]


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file of this process, nor of those it starts in here, may be larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def apart(*arguments: object) -> tuple[int, str]:
    """Exit code and stderr of a process of its own."""
    command = [sys.executable, "-m", "slidestream", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stderr


@pytest.fixture(scope="module")
def half_done(
    tmp_path_factory: pytest.TempPathFactory, write_slide: Draw, tissue_pixels: Draw
) -> tuple[Path, Path]:
    """Two slides, and a run folder in which the first one is done."""
    folder = tmp_path_factory.mktemp("half-done")
    (folder / "slides").mkdir()
    for seed, name in enumerate("ab", 1):
        write_slide(folder / f"slides/{name}.tiff", tissue_pixels(600, seed), 0.5)
    with pytest.MonkeyPatch.context() as patched:
        command = ["run", folder / "slides/a.tiff", "-o", folder / "run", *OPTIONS, "--readers", 0]
        assert call_main(patched, *command) == 0
    return folder / "slides", folder / "run"


@pytest.mark.parametrize(
    ("limit", "readers", "code"),
    [(50_000, 0, "DISK_FULL"), (3_000, 0, "DISK_FULL"), (50_000, 1, "ENVIRONMENT")],
    ids=["amid a store", "at the first note", "at the readers' memory"],
)
def test_what_may_not_be_written_ends_with_5(
    tmp_path: Path, half_done: tuple[Path, Path], cli: Cli, limit: int, readers: int, code: str
) -> None:
    """The first slide is done; the second one's features would be larger than a file may be."""
    slides, run = half_done[0], tmp_path / "run"
    shutil.copytree(half_done[1], run)
    command = ["run", slides, "-o", run, *OPTIONS, "--readers", readers]
    with at_most(limit):
        # Readers would be given the memory that an earlier run of this process has left.
        ended = None if readers else cli(*command)
        stopped, said = (ended.code, ended.err) if ended else apart(*command)
    assert stopped == 5, said
    assert f"{code}: " in said
    assert verify_store(store_path(run, "a")) == []
    assert not store_path(run, "b").exists()
    assert cli(*command).code == 0
    assert [verify_store(store_path(run, slide)) for slide in "ab"] == [[], []]
