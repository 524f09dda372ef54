"""The cards: what is published, at full size where that costs nothing, and the traps the field fell into."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from slidestream.errors import UsageError
from slidestream.features.card import EncoderCard
from slidestream.features.encoder import card_of, encoder_names, known_card
from slidestream.features.zoo import registry
from slidestream.features.zoo.architectures import build_trunk
from slidestream.features.zoo.pooling import pool
from slidestream.features.zoo.registry import read_card, zoo

MILLIONS = {
    "uni": 303.4,
    "uni2-h": 681.4,
    "virchow": 631.2,
    "virchow2": 631.2,
    "gigapath": 1135.0,
    "h-optimus-0": 1134.8,
    "h-optimus-1": 1134.8,
    "h0-mini": 85.7,
    "hibou-b": 85.7,
    "hibou-l": 303.7,
    "phikon": 85.8,
    "phikon-v2": 303.4,
    "kaiko-vitl14": 304.4,
    "midnight-12k": 1134.8,
    "gpfm": 303.2,
    "lunit-dino-s8": 21.7,
    "ctranspath": 27.5,
    "dinov2-vitb14": 86.6,
    "resnet50": 25.6,
}
"""Published sizes, in millions of parameters."""
PREFIX = {"uni": 1, "uni2-h": 9, "virchow": 1, "virchow2": 5, "h-optimus-0": 5, "h0-mini": 5, "hibou-l": 5}


@pytest.mark.parametrize("name", zoo())
def test_the_full_published_architecture_gives_the_registered_dim(name: str) -> None:
    card = zoo()[name]
    trunk: Any = build_trunk(card)
    with torch.device("meta"):
        pixels = torch.zeros(2, 3, card.input_px, card.input_px)
        if card.pooling == "model":
            embedded = trunk(pixels)
        else:
            embedded = pool(trunk.forward_features(pixels), card.pooling, card.prefix_tokens)
    assert embedded.shape == (2, card.dim)
    if name in MILLIONS:
        assert sum(p.numel() for p in trunk.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.06)
    if card.pooling != "model" and card.prefix_tokens:
        assert card.prefix_tokens == trunk.num_prefix_tokens


def test_traps() -> None:
    cards = zoo()
    assert {name: cards[name].prefix_tokens for name in PREFIX} == PREFIX, "class and register tokens"
    assert (cards["virchow2"].pooling, cards["virchow2"].dim) == ("cls+mean", 2560)
    assert [cards[n].dim for n in ("h0-mini", "h0-mini-cls-mean")] == [768, 1536]
    assert (cards["midnight-12k"].pooling, cards["midnight-12k"].dim) == ("cls+mean", 3072)
    giga = cards["gigapath"]
    assert (giga.arguments["patch_size"], giga.resize, giga.input_px, giga.patch_px) == (16, 256, 224, 256)
    assert cards["resnet50"].dim == 1024, "the third stage, not the last"
    imagenet, half = (0.485, 0.456, 0.406), (0.5, 0.5, 0.5)
    means = {name: card.mean for name, card in cards.items()}
    assert means["h-optimus-0"] == means["h-optimus-1"] == means["h0-mini"] == (0.707223, 0.578729, 0.703617)
    assert means["hibou-b"] == means["hibou-l"] == (0.7068, 0.5755, 0.722)
    assert {means[n] for n in cards if n.startswith(("kaiko", "midnight"))} == {half}
    assert {means[n] for n in ("uni", "virchow", "gigapath", "phikon", "ctranspath")} == {imagenet}
    bicubic = {name for name, card in cards.items() if card.interpolation == "bicubic"}
    assert {"virchow", "virchow2", "gigapath", "hibou-b", "hibou-l", "gpfm"} <= bicubic
    assert not bicubic & {"uni", "uni2-h", "conch-v1.5", "phikon", "kaiko-vits16", "ctranspath"}


@pytest.mark.parametrize("name", zoo())
def test_a_card_is_complete(name: str) -> None:
    card = zoo()[name]
    assert card.name == name
    assert card.licence
    assert card.facts
    assert card.file
    assert card.home.startswith("https://huggingface.co/")
    assert card.resize >= card.input_px
    assert len(card.sha256) in (0, 64)
    assert EncoderCard.from_dict(card.to_dict()) == card
    assert hash(card) == hash(EncoderCard.from_dict(card.to_dict()))


def test_knowing_the_cards_loads_no_library() -> None:
    code = (
        "import sys; from slidestream.features.encoder import encoder_names, known_card;"
        "[known_card(name) for name in encoder_names()];"
        "print([m for m in ('torch', 'timm', 'huggingface_hub') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_any_timm_name_has_a_card() -> None:
    card = known_card("timm:resnet18.a1_in1k")
    assert (card.dim, card.input_px, card.resize, card.interpolation) == (512, 224, 235, "bicubic")
    assert card.source == "hf:timm/resnet18.a1_in1k"
    with pytest.raises(UsageError, match="resnet18"):
        known_card("timm:resnet18x")


YAML = """
name: ours
source: file:ours.safetensors
licence: internal
dim: 384
input_px: 224
resize: 224
mean: [0.5, 0.5, 0.5]
std: [0.5, 0.5, 0.5]
pooling: cls
prefix_tokens: 1
spacings: [0.5]
architecture: timm:vit_small_patch16_224
"""


def test_a_yaml_card(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(YAML)
    card = known_card(str(tmp_path / "card.yaml"))
    assert (card.name, card.dim, card.spacings) == ("ours", 384, (0.5,))
    assert card.source == f"file:{tmp_path / 'ours.safetensors'}", "relative to the card, not to where we are"
    assert card.home == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("pooling: cls", "poolin: cls"), "'pooling'"),
        (("architecture: timm:vit_small_patch16_224", ""), "no architecture"),
        (("source: file:ours.safetensors", "source: https://example.org/x"), "hf:ORG/REPO"),
        (("dim: 384", "dim: many"), "int"),
        (("name: ours", "name: [}"), "no YAML card"),
    ],
)
def test_a_wrong_yaml_card_is_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(YAML.replace(*change))
    with pytest.raises(UsageError) as caught:
        read_card(path)
    assert said in str(caught.value)


class _Point:
    """An entry point of another package."""

    name = "theirs"
    dist = None

    def __init__(self, value: object) -> None:
        self._value = value

    def load(self) -> object:
        return self._value


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`offered(value)` makes another package offer it."""

    def make(value: object) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: [_Point(value)] if group else [])
        zoo.cache_clear()

    yield make
    monkeypatch.undo()
    zoo.cache_clear()


def test_another_package_offers_a_card(offered: Any) -> None:
    theirs = EncoderCard("theirs", "hf:a/b", "", "", "MIT", False, 3, 32, file="x", architecture="timm:x")
    offered(theirs)
    assert known_card("theirs") is theirs
    assert "theirs" in encoder_names()


def test_what_is_no_card_or_takes_a_name_is_refused(offered: Any) -> None:
    offered("a path")
    with pytest.raises(UsageError, match="no EncoderCard"):
        encoder_names()
    offered(EncoderCard("uni", "hf:a/b", "", "", "MIT", False, 3, 32))
    with pytest.raises(UsageError, match="exists already"):
        encoder_names()


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UsageError, match="virchow2"):
        card_of("virchow3")
