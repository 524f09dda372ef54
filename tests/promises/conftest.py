"""How promises are put to the test: real commands, quick encoders, faults planted from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
Real = Callable[[str], Path]
Draw = Callable[..., Any]
Plant = Callable[..., dict[str, str]]
Spawn = Callable[..., "subprocess.Popen[str]"]

SMALL = ["--encoder", "mean", "--patch-size", "64", "--mpp", "1"]
"""Options of a run in this process: the encoder whose embedding is the mean colour."""

REAL = ["--encoder", "null", "--patch-size", "96", "--mpp", "1"]
"""Options of a run in a process of its own, which knows only the encoders that are built in."""


@pytest.fixture(autouse=True)
def _quick(mean_encoder: str) -> None:
    """Every run in this process may use the encoder whose embedding is the mean colour."""


def outcomes(ended: Any) -> dict[str, dict[str, Any]]:
    """What `run --json` says of each input, by slide id."""
    return {outcome["slide_id"]: outcome for outcome in json.loads(ended.out)["outcomes"]}


def codes(ended: Any) -> dict[str, str]:
    """The code of each input's failure, empty where it did not fail."""
    return {slide: outcome["code"] for slide, outcome in outcomes(ended).items()}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time stamp of every file below a folder: they tell a file left alone from one made anew."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """`plant(code, **values)` is an environment whose Python processes, children too, run the code first.

    In it `event` and `given` are those of every audit event that Python raises (PEP 578), such as "open";
    `reader` says whether the process was started by another one to read, `values` are names it can use.
    """

    def write(code: str, **values: Any) -> dict[str, str]:
        folder = tmp_path / "planted"
        folder.mkdir()
        indented = code.strip().replace("\n", "\n    ")
        names = "\n".join(f"{name} = {value!r}" for name, value in values.items())
        (folder / "sitecustomize.py").write_text(
            "import os, signal, sys, time\n"
            'reader = "--multiprocessing-fork" in sys.orig_argv\n'
            f"{names}\n"
            f"def watch(event, given):\n    {indented}\n"
            "sys.addaudithook(watch)\n"
        )
        return os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}

    return write


@pytest.fixture
def spawn() -> Spawn:
    """`spawn("run", folder, env=...)` starts a command in a process and a process group of its own."""

    def start(*arguments: object, env: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "slidestream", *map(str, arguments)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=env, start_new_session=True, **pipes, **more)

    return start


@pytest.fixture
def draw_slides(tmp_path: Path, write_slide: Draw, tissue_pixels: Draw) -> Callable[..., Path]:
    """`draw_slides("a", "b", side=600)` is a folder of slides with these names at 0.5 µm per px."""

    def draw(*names: str, side: int = 600) -> Path:
        folder = tmp_path / "slides"
        folder.mkdir(exist_ok=True)
        for seed, name in enumerate(names):
            write_slide(folder / f"{name}.tiff", tissue_pixels(side, seed), 0.5)
        return folder

    return draw
