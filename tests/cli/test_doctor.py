"""`doctor` passes on a working installation, and names what is not when a fault is injected."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagecodecs
import openslide
import pytest
import simplejpeg
import torch

from slidestream.cli import doctor
from slidestream.errors import MissingExtra

Cli = Callable[..., Any]
Patch = pytest.MonkeyPatch


def checks(ended: Any) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(ended.out)["checks"]}


def test_a_working_installation_passes(cli: Cli, tmp_path: Path) -> None:
    ended = cli("doctor", tmp_path, "--json")
    assert ended.code == 0
    found = checks(ended)
    expected = {"OpenSlide library", "JPEG", "JPEG 2000", "LZW", "torch", "GPU", "write, fsync, rename"}
    assert expected | {"file locks", "free space"} <= set(found)
    assert found["one slide, start to end"]["found"].endswith("store verified")
    assert {check["result"] for check in found.values()} <= {"PASS", "WARN"}
    assert all(check["fix"] for check in found.values() if check["result"] != "PASS")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def no_slide(monkeypatch: Patch) -> None:
    """Leaves out the check that takes longest, where another fault is injected."""
    monkeypatch.setattr(doctor, "_one_slide", lambda: doctor.Check("one slide", "", doctor.PASS))


@pytest.mark.usefixtures("no_slide")
def test_a_folder_that_is_not_there_fails_with_the_fix(cli: Cli, tmp_path: Path) -> None:
    ended = cli("doctor", tmp_path / "none")
    assert ended.code == 5
    assert "FAIL" in ended.out
    assert "Not fit for a run: folder for results" in ended.err
    in_json = cli("doctor", tmp_path / "none", "--json")
    assert (in_json.code, checks(in_json)["folder for results"]["result"]) == (5, "FAIL")


@pytest.mark.parametrize(
    ("version", "result"), [("3.4.1", "FAIL"), ("4.0.0", "FAIL"), ("4.0.1", "PASS"), ("4.1.0-dev", "PASS")]
)
def test_the_version_of_openslide(monkeypatch: Patch, version: str, result: str) -> None:
    monkeypatch.setattr(openslide, "__library_version__", version)
    assert doctor._openslide().result == result


class Refusing:
    """An import hook that fails for one module."""

    def __init__(self, name: str, error: Exception) -> None:
        self._name, self._error = name, error

    def find_spec(self, name: str, *_: object) -> None:
        if name == self._name:
            raise self._error


@pytest.fixture
def refuse(monkeypatch: Patch) -> Callable[[str, Exception], None]:
    """`refuse("torch", error)`: importing it fails so."""

    def hook(name: str, error: Exception) -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "meta_path", [Refusing(name, error), *sys.meta_path])

    return hook


def test_an_openslide_without_its_library(refuse: Callable[..., None]) -> None:
    refuse("openslide", OSError("libopenslide.so.1: cannot open shared object file"))
    assert doctor._openslide().result == "FAIL"


def test_a_torch_that_cannot_be_loaded(refuse: Callable[..., None], cli: Cli, tmp_path: Path) -> None:
    refuse("torch", OSError("libcudart.so.12: cannot open shared object file"))
    ended = cli("doctor", tmp_path, "--json")
    assert (ended.code, checks(ended)["torch"]["result"]) == (5, "FAIL")


def _raises(*_: object, **__: object) -> bytes:
    raise RuntimeError("the codec was left out of this build")


@pytest.mark.parametrize(
    ("module", "function", "name"),
    [
        (simplejpeg, "decode_jpeg", "JPEG"),
        (imagecodecs, "jpeg2k_decode", "JPEG 2000"),
        (imagecodecs, "lzw_decode", "LZW"),
    ],
)
def test_a_codec_that_is_missing_or_wrong(monkeypatch: Patch, module: Any, function: str, name: str) -> None:
    assert {check.name: check.result for check in doctor._codecs()}[name] == "PASS"
    sound = getattr(module, function)
    dark = {"lzw_decode": bytes(64 * 64 * 3)}.get(function, doctor._picture() // 2)
    for broken in (_raises, lambda data: dark):
        monkeypatch.setattr(module, function, broken)
        results = {check.name: check.result for check in doctor._codecs()}
        assert results.pop(name) == "FAIL"
        assert set(results.values()) == {"PASS"}, "the others are not touched"
        monkeypatch.setattr(module, function, sound)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (ImportError("No module named 'torchvision'"), "PASS"),
        (RuntimeError("operator torchvision::nms does not exist"), "FAIL"),
        (OSError("undefined symbol"), "FAIL"),
    ],
)
def test_torchvision_of_another_build(refuse: Callable[..., None], error: Exception, result: str) -> None:
    refuse("torchvision", error)
    assert doctor._torch().result == result


@pytest.mark.parametrize(
    ("versions", "result"),
    [
        (("2.6.0+cpu", "0.21.0+cpu"), "PASS"),
        (("2.6.0+cpu", "0.21.0+cu124"), "WARN"),
        (("2.6", "0.21"), "PASS"),
    ],
)
def test_builds_that_differ_only_in_name(monkeypatch: Patch, versions: tuple[str, str], result: str) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(__version__=versions[1]))
    monkeypatch.setattr(torch, "__version__", versions[0])
    assert doctor._torch().result == result


@pytest.mark.parametrize("computes", [True, False])
def test_a_gpu_that_is_seen(monkeypatch: Patch, computes: bool) -> None:
    """Ones are made on the processor here, as far as there is no GPU."""
    ones = torch.ones

    def made(*size: int, device: str) -> torch.Tensor:
        if not computes:
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
        return ones(*size)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch, "ones", made)
    found = doctor._gpu()
    assert (found.result, "--device cpu" in found.fix) == (("PASS", False) if computes else ("FAIL", True))


def test_a_gpu_that_torch_was_not_built_for(monkeypatch: Patch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert doctor._gpu().found == "none found"
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert "without CUDA" in doctor._gpu().found
    assert doctor._gpu().result == "WARN"


@pytest.mark.parametrize(("gigabytes", "result"), [(100, "PASS"), (4.9, "WARN"), (0.1, "FAIL")])
def test_little_space(monkeypatch: Patch, tmp_path: Path, gigabytes: float, result: str) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=int(gigabytes * 1e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    found = doctor._space(tmp_path)
    assert (found.result, bool(found.fix)) == (result, result != "PASS")


@pytest.mark.parametrize("step", ["write_all", "sync", "sync_folder", "rename"])
def test_a_disk_that_cannot_do_what_a_store_needs(monkeypatch: Patch, tmp_path: Path, step: str) -> None:
    assert doctor._durable(tmp_path / "sound").result == "PASS"

    def refused(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(f"slidestream.features.disk.{step}", refused)
    found = doctor._durable(tmp_path / "faulty")
    assert (found.result, found.found) == ("FAIL", "Invalid argument")


def test_a_disk_that_gives_back_something_else(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"\0" * 11)
    assert doctor._durable(tmp_path).result == "FAIL"


def test_locks_that_hold(tmp_path: Path) -> None:
    assert doctor._locks(tmp_path) == doctor.Check("file locks", "work", "PASS")


def test_locks_that_let_two_in(monkeypatch: Patch, tmp_path: Path) -> None:
    """The other process asks SQLite not to lock, as on a disk whose locks do nothing."""
    path = "'file:' + sys.argv[1] + '?vfs=unix-none', uri=True"
    monkeypatch.setattr(doctor, "LOCK", doctor.LOCK.replace("sys.argv[1]", path))
    found = doctor._locks(tmp_path)
    assert (found.result, "two writers" in found.found) == ("WARN", True)
    assert found.fix


def test_locks_that_are_never_given_back(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "LOCK", "raise SystemExit(1)")
    assert doctor._locks(tmp_path).result == "FAIL"


def test_a_disk_on_which_sqlite_cannot_lock(monkeypatch: Patch, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "lock.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert doctor._locks(tmp_path).result == "FAIL"
    finally:
        holder.close()


def test_a_missing_package_is_named(monkeypatch: Patch) -> None:
    assert doctor._installed("no-such-package", "WARN", "pip install it") == doctor.Check(
        "no-such-package", "not installed", "WARN", "pip install it"
    )


def test_a_fault_on_the_whole_path_is_a_line_of_the_table(
    monkeypatch: Patch, cli: Cli, tmp_path: Path
) -> None:
    def without(*_: object) -> Iterator[None]:
        raise MissingExtra("Something is not installed.")

    monkeypatch.setattr("slidestream.cohort.process.process", without)
    ended = cli("doctor", tmp_path, "--json")
    assert (ended.code, checks(ended)["one slide, start to end"]["result"]) == (5, "FAIL")
