"""`doctor` passes on a working installation and names what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slidestream.cli import doctor

Cli = Callable[..., Any]


def test_a_working_installation_passes(cli: Cli, tmp_path: Path) -> None:
    ended = cli("doctor", tmp_path, "--json")
    assert ended.code == 0
    checks = {check["name"]: check for check in json.loads(ended.out)["checks"]}
    assert {"OpenSlide library", "torch", "write, fsync, rename", "file locks", "free space"} <= set(checks)
    assert checks["one slide, start to end"]["found"].endswith("store verified")
    assert all(check["fix"] for check in checks.values() if check["result"] != "PASS")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_fails_with_the_fix(cli: Cli, tmp_path: Path) -> None:
    ended = cli("doctor", tmp_path / "none")
    assert ended.code == 5
    assert "FAIL" in ended.out
    assert "Not fit for a run: folder for results" in ended.err


def test_an_old_openslide_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import openslide

    monkeypatch.setattr(openslide, "__library_version__", "3.4.1")
    assert doctor._openslide().result == "FAIL"


def test_a_disk_that_cannot_rename_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(old: Path, new: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("slidestream.features.disk.rename", refuse)
    assert doctor._durable(tmp_path).result == "FAIL"
