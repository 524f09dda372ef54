"""What the README shows is true: its example runs, its commands exist, its files are there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from slidestream.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_slide: Callable[..., Path],
    tissue_pixels: Callable[..., Any],
    cli: Callable[..., Any],
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    monkeypatch.chdir(tmp_path)
    write_slide(tmp_path / "slide.tiff", tissue_pixels(1200), 0.5)
    assert cli("run", "slide.tiff", "-o", "RUN").code == 0
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    pixels = np.concatenate(names["patches"])
    assert pixels.shape == (4, 224, 224, 3)
    assert names["features"].shape[1] == 183
    assert len(names["features"]) == 4


def test_the_table_of_commands_is_complete() -> None:
    table = README.split("| command | does |")[1].split("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    listed = {name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)}
    assert listed == set(get_command(app).commands)  # type: ignore[attr-defined]


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_no_text_names_a_place_of_one_machine() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "pyproject.toml"]:
        assert not re.search(r"(^|[^A-Za-z0-9_.])/(work|root|tmp|home)/", path.read_text()), path
