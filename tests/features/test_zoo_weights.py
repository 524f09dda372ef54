"""Weights on this machine: found, missing, changed, and never fetched behind the user's back."""

from __future__ import annotations

import json
import pickle
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slidestream.errors import EnvironmentProblem, UsageError, WeightsChanged, WeightsMissing
from slidestream.features.embedder import Embedder
from slidestream.features.encoder import Encoder, card_of, load_encoder
from slidestream.features.zoo.bundle import bundle
from slidestream.features.zoo.checkpoint import read_tensors
from slidestream.features.zoo.registry import zoo
from slidestream.features.zoo.weights import (
    file_sha256,
    has_weights,
    lock_path,
    read_lock,
    weights_folder,
    weights_path,
)

from .zoo import offer, patches, save, tiny

NAME = "lunit-dino-s8"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to the network raises."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_offline_a_bundled_encoder_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = tiny(monkeypatch, tmp_path / "here")
    pixels = patches(3, 32)
    here = Embedder(load_encoder(NAME), "cpu")(pixels)
    (copied,) = bundle([card], tmp_path / "there")
    assert NAME in (tmp_path / "there/README.txt").read_text()
    weights_path(card).unlink()
    monkeypatch.setenv("SLIDESTREAM_WEIGHTS", str(tmp_path / "there"))
    assert weights_path(card) == copied
    np.testing.assert_array_equal(Embedder(load_encoder(NAME), "cpu")(pixels), here)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["virchow2", "midnight-12k"])
def test_a_missing_one_names_the_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDESTREAM_WEIGHTS", str(tmp_path))
    for use in (card_of, load_encoder):
        with pytest.raises(WeightsMissing) as caught:
            use(name)
        assert caught.value.exit_code == 5
        assert f"`slidestream encoders pull {name}`" in caught.value.fix
        asked = "https://huggingface.co/paige-ai/Virchow2" in caught.value.fix
        assert asked is zoo()[name].gated
    with pytest.raises(WeightsMissing):
        bundle([zoo()[name]], tmp_path / "out")
    with pytest.raises(UsageError, match="no weights to bundle"):
        bundle([card_of("texture")], tmp_path / "out")


def test_the_hash_of_the_weights_is_on_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = tiny(monkeypatch, tmp_path)
    assert card.sha256 == ""
    assert has_weights(card)
    sha256 = file_sha256(weights_path(card))
    assert card_of(NAME) == load_encoder(NAME).card == replace(card, sha256=sha256)
    lock = read_lock(weights_path(card))
    assert lock is not None
    assert (lock.sha256, lock.licence, lock.source) == (sha256, card.licence, card.source)


def test_the_first_use_is_trusted_and_a_later_change_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, network = tiny(monkeypatch, tmp_path)
    path = weights_path(card)
    first = card_of(NAME)
    path.touch()
    assert card_of(NAME) == first, "another date is no other content"
    save({k: v + 1 for k, v in network.state_dict().items()}, path)
    for use in (card_of, load_encoder):
        with pytest.raises(WeightsChanged, match="first use") as caught:
            use(NAME)
        assert lock_path(path).name in caught.value.fix
    lock_path(path).unlink()
    assert card_of(NAME).sha256 != first.sha256, "the user may mean it"


def test_a_change_that_keeps_size_and_date_is_found_when_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    card, _ = tiny(monkeypatch, tmp_path)
    path = weights_path(card)
    card_of(NAME)
    before = path.stat()
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(blob)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(WeightsChanged):
        load_encoder(NAME)


def test_a_pinned_hash_wins_over_what_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = tiny(monkeypatch, tmp_path)
    monkeypatch.setitem(zoo(), NAME, replace(card, sha256="0" * 64))
    with pytest.raises(WeightsChanged, match="the card"):
        card_of(NAME)


def test_a_lock_that_cannot_be_read_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, _ = tiny(monkeypatch, tmp_path)
    card_of(NAME)
    for damage in ("{", json.dumps({"sha": 1}), "[]"):
        lock_path(weights_path(card)).write_text(damage)
        with pytest.raises(WeightsChanged, match="cannot be read"):
            card_of(NAME)


def test_a_folder_we_may_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = tiny(monkeypatch, tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr("slidestream.features.zoo.weights.replace_json", refuse)
    assert card_of(NAME).sha256 == file_sha256(weights_path(card))


def test_what_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, network = tiny(monkeypatch, tmp_path)
    whole = network.state_dict()
    path = weights_path(card)
    for file, said in (
        ({k: v for k, v in whole.items() if k != "norm.bias"}, "norm.bias is missing"),
        (whole | {"blocks.1.norm1.bias": torch.zeros(48)}, "blocks.1.norm1.bias is left over"),
        (whole | {"norm.bias": torch.zeros(49)}, r"norm.bias is \(49,\), not \(48,\)"),
    ):
        lock_path(path).unlink(missing_ok=True)
        save(file, path)
        with pytest.raises(EnvironmentProblem, match=said):
            load_encoder(NAME)


def test_a_classifier_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, network = tiny(monkeypatch, tmp_path)
    save(network.state_dict() | {"head.weight": torch.zeros(9, 48)}, weights_path(card))
    assert load_encoder(NAME).card.dim == 48


class _Evil:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/nonexistent/ran"),))


@pytest.mark.parametrize("name", ["evil.bin", "evil.pth", "other.pt", "cut.safetensors", "empty.bin"])
def test_no_code_comes_from_a_weights_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.startswith("evil"):
        torch.save({"w": _Evil()}, path)
    elif name == "other.pt":
        path.write_bytes(pickle.dumps({"w": [1, 2]}))
    else:
        path.write_bytes(b"\x10" if name.startswith("cut") else b"")
    with pytest.raises(EnvironmentProblem, match="no weights file"):
        read_tensors(path)


def test_weights_of_half_precision_are_widened(tmp_path: Path) -> None:
    save({"a": torch.tensor([0.5], dtype=torch.bfloat16), "n": torch.tensor(3)}, tmp_path / "w.safetensors")
    found = read_tensors(tmp_path / "w.safetensors")
    assert (found["a"].dtype, found["n"].dtype) == (torch.float32, torch.int64)


def test_the_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIDESTREAM_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "slidestream/weights"
    assert weights_path(zoo()["uni"]) == tmp_path / "slidestream/weights/MahmoodLab--UNI/pytorch_model.bin"


def test_a_yaml_card_loads_the_file_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, network = tiny(monkeypatch, tmp_path / "unused")
    save(network.state_dict(), tmp_path / "ours.safetensors")
    values = card.to_dict() | {"name": "ours", "source": "file:ours.safetensors"}
    (tmp_path / "card.yaml").write_text(json.dumps(values))
    encoder = load_encoder(str(tmp_path / "card.yaml"))
    assert encoder.card.name == "ours"
    pixels = patches(2, 32)
    np.testing.assert_array_equal(
        Embedder(encoder, "cpu")(pixels), Embedder(load_encoder(NAME), "cpu")(pixels)
    )
    (tmp_path / "ours.safetensors").unlink()
    with pytest.raises(WeightsMissing, match="source"):
        load_encoder(str(tmp_path / "card.yaml"))
    (tmp_path / "card.yaml").write_text(json.dumps(values | {"source": "hf:our/repo", "file": "absent"}))
    with pytest.raises(WeightsMissing, match=re.escape(f"pull {tmp_path / 'card.yaml'}`")):
        card_of(str(tmp_path / "card.yaml"))


def embedded_in(encoder: Encoder, size: int, precision: str) -> torch.Tensor:
    """So many at once, also where an embedder would take fewer."""
    embed = Embedder(encoder, "cpu", precision)
    pixels = torch.from_numpy(patches(64, 96))
    return torch.cat([embed.on_device(pixels[at : at + size]) for at in range(0, 64, size)])


@pytest.mark.parametrize(("precision", "least"), [("fp32", 1 - 1e-5), ("bf16", 0.999)])
def test_embeddings_do_not_depend_on_the_batch(
    precision: str, least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slidestream.features.zoo.architectures import build_with_values

    from .zoo import randomise

    small = replace(zoo()["kaiko-vits16"], input_px=96, resize=96)
    card = offer(monkeypatch, small, tmp_path, depth=2, img_size=96)
    save(randomise(build_with_values(card)).state_dict(), weights_path(card))
    encoder = load_encoder("kaiko-vits16")
    ones, sevens, all_at_once = (embedded_in(encoder, size, precision) for size in (1, 7, 64))
    for other in (sevens, all_at_once):
        assert torch.cosine_similarity(ones, other).min() > least
    exact = embedded_in(encoder, 64, "fp32")
    assert torch.cosine_similarity(ones, exact).min() > 0.999
    assert (precision == "fp32") == bool(torch.allclose(ones, exact, atol=1e-4, rtol=0))
    assert torch.cosine_similarity(exact[:1], exact[1:]).max() < 0.9999, "patches differ more than batches"
