"""The disk, or what a process may write, is used up amid a run: exit 5, and finished slides are intact."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slidestream.features.layout import store_path
from slidestream.features.verify import verify_store

resource = pytest.importorskip("resource", reason="no limits of processes here")

Draw = Callable[..., Any]


def slidestream(*arguments: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "slidestream", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited)


@pytest.mark.parametrize(
    ("limit", "readers", "code"),
    [(50_000, 0, "DISK_FULL"), (3_000, 0, "DISK_FULL"), (50_000, 1, "ENVIRONMENT")],
    ids=["amid a store", "at the first note", "at the readers' memory"],
)
def test_what_may_not_be_written_ends_with_5(
    tmp_path: Path, write_slide: Draw, tissue_pixels: Draw, limit: int, readers: int, code: str
) -> None:
    """The first slide is done; the second one's features would be larger than a file may be."""
    slides, run = tmp_path / "slides", tmp_path / "run"
    slides.mkdir()
    write_slide(slides / "a.tiff", tissue_pixels(600, 1), 0.5)
    options = ["--patch-size", "64", "--overlap", "0.5", "--mpp", "0.5", "--force-spacing", "--device", "cpu"]
    command = ["run", slides, "-o", run, *options, "--readers", readers]
    assert slidestream(*command).returncode == 0
    write_slide(slides / "b.tiff", tissue_pixels(600, 2), 0.5)
    stopped = slidestream(*command, limit=limit)
    assert stopped.returncode == 5, stopped.stderr
    assert f"{code}: " in stopped.stderr
    assert verify_store(store_path(run, "a")) == []
    assert not store_path(run, "b").exists()
    assert slidestream(*command).returncode == 0
    assert [verify_store(store_path(run, slide)) for slide in "ab"] == [[], []]
