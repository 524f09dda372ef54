"""The house stays as drawn: one folder per stage, one namespace, imports that point up."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["wsi", "radiology", "tiling", "stain", "features", "mil", "report", "cohort", "cli"]
"""In the order in which data flow; a room may import the rooms before it."""
INNER = {"features.zoo": "features/zoo"}
"""Folders within a room."""

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_folders_and_mapping_agree() -> None:
    with_code = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert with_code == {"slidestream", *ROOMS}
    table = PYPROJECT["tool"]["setuptools"]
    folders = {room: room for room in ROOMS} | INNER
    assert set(table["packages"]) == {"slidestream", *(f"slidestream.{name}" for name in folders)}
    named = {f"slidestream.{name}": folder for name, folder in folders.items()}
    assert table["package-dir"] == {"slidestream": "slidestream"} | named


def test_rooms_hold_no_folders_that_the_mapping_would_lose() -> None:
    inner = {path.parent for room in ROOMS for path in (ROOT / room).glob("*/**/*.py")}
    assert inner == {ROOT / folder for folder in INNER.values()}


def test_links_point_at_the_rooms() -> None:
    links = {path.name: path for path in (ROOT / "slidestream").iterdir() if path.is_symlink()}
    if not links and sys.platform == "win32":
        pytest.skip("a Windows clone has no links and needs none to run")
    assert {name: str(link.readlink()) for name, link in links.items()} == {r: f"../{r}" for r in ROOMS}


def test_bare_imports_are_banned_for_tests_and_benchmarks() -> None:
    banned = PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == set(ROOMS)


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, module) of every import of a file, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((node.level, name) for name in names)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_up_and_are_relative(room: str) -> None:
    above = ROOMS[: ROOMS.index(room)]
    for path in sorted((ROOT / room).rglob("*.py")):
        out = len(path.relative_to(ROOT).parts)
        for level, module in _imports(path):
            first = module.split(".")[0]
            if level == 0:
                assert first not in {"slidestream", *ROOMS}, f"{path}: import {module} relatively"
            if level == out and first in ROOMS:
                assert first in above, f"{path}: {room} must not import {first}"


def test_shared_modules_import_no_room() -> None:
    for path in (ROOT / "slidestream").glob("*.py"):
        if path.stem not in ("__init__", "__main__"):
            assert not {module.split(".")[0] for _, module in _imports(path)} & set(ROOMS), path


def test_only_the_command_line_prints() -> None:
    for path in (p for room in ROOMS if room != "cli" for p in (ROOT / room).rglob("*.py")):
        calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c for c in calls if isinstance(c, ast.Name) and c.id == "print"], path


def test_help_is_quick_because_it_imports_no_torch() -> None:
    code = "import sys, slidestream.cli.app; print([m for m in ('torch', 'zarr') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_constraints_pin_versions_and_name_no_address() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert lines
    assert all("==" in line and "/" not in line and "+" not in line for line in lines)
