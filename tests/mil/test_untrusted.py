"""Weights and bags from strangers: whatever a file holds, none of it is ever run."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

Cohort = tuple[Path, Path]
Cli = Callable[..., Any]


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self._mark, "w"))


def as_pickle(payload: Payload) -> bytes:
    return pickle.dumps({"weight": payload})


def as_pt(payload: Payload) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": payload}, file)
    return file.getvalue()


def as_old_pt(payload: Payload) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": payload}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def as_npz(payload: Payload) -> bytes:
    file = io.BytesIO()
    np.savez(file, weight=np.array([payload], dtype=object))
    return file.getvalue()


def as_npy(payload: Payload) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([payload], dtype=object))
    return file.getvalue()


FORMS = [as_pickle, as_pt, as_old_pt, as_npz, as_npy]


@pytest.fixture(scope="module")
def trained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head folder. Do not change it."""
    head = tmp_path_factory.mktemp("untrusted") / "head"
    train(*cohort, head, TrainSpec(folds=2, epochs=2, bootstrap=10))
    return head


@pytest.fixture
def head(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return Path(shutil.copytree(trained, tmp_path / "head"))


def put(head: Path, weights: bytes, signed: bool) -> None:
    """Replace the weights of fold 0; `signed` also writes down their digest, as a stranger would."""
    (head / "fold-0.safetensors").write_bytes(weights)
    if signed:
        document = json.loads((head / "head.json").read_text())
        document["weights"][0] = hashlib.sha256(weights).hexdigest()
        (head / "head.json").write_text(json.dumps(document))


def commands(run: Path, head: Path, out: Path) -> list[list[object]]:
    return [
        ["predict", run, "--head", head],
        ["predict", run, "--head", head, "--json"],
        ["heatmap", run, "--head", head, "-o", out / "maps"],
        ["heatmap", run, "--head", head, "-o", out / "maps", "--slide", "s00"],
    ]


@pytest.mark.parametrize("form", FORMS)
def test_the_payload_would_run_if_it_were_unpickled(form: Callable[..., bytes], tmp_path: Path) -> None:
    file = io.BytesIO(form(Payload(tmp_path / "mark")))
    if form in (as_npz, as_npy):
        found = np.load(file, allow_pickle=True)
        _ = found["weight"] if form is as_npz else found
    elif form is as_pickle:
        pickle.load(file)
    else:
        torch.load(file, weights_only=False)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_in_the_place_of_weights_never_runs(
    cli: Cli, cohort: Cohort, head: Path, tmp_path: Path, form: Callable[..., bytes], signed: bool
) -> None:
    put(head, form(Payload(tmp_path / "mark")), signed)
    for command in commands(cohort[0], head, tmp_path):
        ended = cli(*command)
        assert (ended.code, "STORE_CORRUPT" in ended.err, "INTERNAL" in ended.err) == (4, True, False)
        assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".npz", ".safetensors"])
def test_a_file_in_the_place_of_a_head_folder_never_runs(
    cli: Cli, cohort: Cohort, tmp_path: Path, suffix: str
) -> None:
    for form in FORMS:
        file = tmp_path / f"head{suffix}"
        file.write_bytes(form(Payload(tmp_path / "mark")))
        for command in commands(cohort[0], file, tmp_path):
            assert cli(*command).code == 4
            assert not (tmp_path / "mark").exists()


def test_a_head_folder_of_pickles_beside_the_weights_never_runs(
    cli: Cli, cohort: Cohort, head: Path, tmp_path: Path
) -> None:
    """Files that other tools would pick up are not looked at."""
    for number in range(2):
        (head / f"fold-{number}.pt").write_bytes(as_pt(Payload(tmp_path / "mark")))
    (head / "head.pkl").write_bytes(as_pickle(Payload(tmp_path / "mark")))
    assert cli(*commands(cohort[0], head, tmp_path)[0]).code == 0
    assert not (tmp_path / "mark").exists()


def test_changed_weights_are_refused(cli: Cli, cohort: Cohort, head: Path, tmp_path: Path) -> None:
    """One weight of one head: valid safetensors, and not what was written."""
    tensors = load((head / "fold-1.safetensors").read_bytes())
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.ndim == 2)
    tensors[name][0, 0] += 1
    (head / "fold-1.safetensors").write_bytes(save(tensors))
    for command in commands(cohort[0], head, tmp_path):
        ended = cli(*command)
        assert (ended.code, "fold-1.safetensors is missing or was changed" in ended.err) == (4, True)


@pytest.mark.parametrize(
    "weights",
    [
        save({"weight": torch.zeros(2, 2)}),
        b"",
        b"\xff" * 8 + b"{}",
        (2**40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        save({"standardise.mean": torch.zeros(3)})[:-4],
    ],
    ids=["other tensors", "empty", "endless header", "huge header", "no table", "cut short"],
)
def test_signed_weights_that_are_no_head_are_refused(
    cli: Cli, cohort: Cohort, head: Path, tmp_path: Path, weights: bytes
) -> None:
    put(head, weights, signed=True)
    for command in commands(cohort[0], head, tmp_path):
        ended = cli(*command)
        assert (ended.code, "STORE_CORRUPT" in ended.err, "INTERNAL" in ended.err) == (4, True, False)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": None},
        {"classes": ["a", "b", "c"]},
        {"weights": "no list"},
        {"weights": []},
        {"weights": ["../../etc/passwd"]},
        {"contract": {}},
        {"contract": {"kind": "slide", "encoder": {"dim": 10**12}}},
        {"train": {"head": "os.system"}},
        {"train": {"head": "abmil", "__class__": "x"}},
        {"slides": []},
        {"slides": {"s00": 7}},
    ],
    ids=repr,
)
def test_a_tampered_description_is_refused(
    cli: Cli, cohort: Cohort, head: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    document = json.loads((head / "head.json").read_text())
    (head / "head.json").write_text(json.dumps(document | change))
    for command in commands(cohort[0], head, tmp_path)[:2]:
        ended = cli(*command)
        assert ended.code in (2, 4)
        assert "INTERNAL" not in ended.err


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\x80pickle", '{"schema": 3}'])
def test_a_description_that_is_none_is_refused(
    cli: Cli, cohort: Cohort, head: Path, tmp_path: Path, text: str
) -> None:
    (head / "head.json").write_text(text, encoding="latin-1")
    for command in commands(cohort[0], head, tmp_path)[:2]:
        ended = cli(*command)
        assert ended.code in (2, 4)
        assert "INTERNAL" not in ended.err


def test_a_head_that_is_an_archive_is_no_folder(cli: Cli, cohort: Cohort, head: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "head.zip", "w") as archive:
        archive.write(head / "head.json", "head.json")
    assert cli("predict", cohort[0], "--head", tmp_path / "head.zip").code == 4


def test_nothing_in_the_library_can_unpickle() -> None:
    """No pickle, no eval, no unsafe YAML, no `allow_pickle`, and torch.load only with weights_only."""
    root = Path(__file__).resolve().parent.parent.parent
    banned = (
        "import pickle",
        "import dill",
        "import joblib",
        "allow_pickle=True",
        "yaml.load(",
        "eval(",
        "exec(",
    )
    for path in root.glob("*/*.py"):
        if path.parent.name in ("tests", "benchmarks", "docs"):
            continue
        text = path.read_text()
        code = text.replace(".eval()", "").replace("on_eval(", "")
        assert not [word for word in banned if word in code], path
        assert text.count("torch.load(") == text.count("weights_only=True"), path
