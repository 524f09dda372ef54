"""An encoder card may ask for a stain method: applied unless told otherwise, recorded, in the contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from slidestream.errors import ContractMismatch
from slidestream.features.encoder import BUILDERS, Encoder
from slidestream.features.store import open_store
from slidestream.features.zoo.registry import read_card
from slidestream.mil.contract import EmbeddingContract, require_equal
from slidestream.stain.reference import reference
from slidestream.stain.spec import StainSpec

from ..he_slides import PURPLE, he_slide

pytestmark = pytest.mark.usefixtures("in_this_process")

Cli = Callable[..., Any]


@pytest.fixture
def asking(mean_encoder: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An encoder like `mean`, whose card asks for macenko."""
    built = BUILDERS[mean_encoder]()
    card = replace(built.card, name="asking", stain="macenko")
    monkeypatch.setitem(BUILDERS, "asking", lambda: Encoder(card, built.module))
    return "asking"


@pytest.fixture
def slide(tmp_path: Path, write_slide: Callable[..., Path]) -> Path:
    return write_slide(tmp_path / "a.tiff", he_slide(PURPLE), 1.0)


@pytest.fixture
def stored(cli: Cli, slide: Path, tmp_path: Path) -> Callable[..., Any]:
    """`stored(name, encoder, *options)` runs the slide into the folder NAME, and opens its store."""

    def make(name: str, encoder: str, *options: str) -> Any:
        command = ("run", slide, "-o", tmp_path / name, "--encoder", encoder, "--mpp", 1, "--readers", 0)
        ended = cli(*command, *options)
        assert ended.code == 0, ended.err
        return open_store(tmp_path / name / "embeddings/a.zarr")

    return make


def test_the_card_decides_unless_the_user_does(
    stored: Callable[..., Any], asking: str, tmp_path: Path
) -> None:
    stores = {
        "card": stored("card", asking),
        "said": stored("said", "mean", "--stain", "macenko"),
        "other": stored("other", asking, "--stain", "reinhard"),
        "none": stored("none", asking, "--stain", "none"),
        "plain": stored("plain", "mean"),
    }
    macenko = StainSpec("macenko", reference("macenko")).to_dict()
    assert stores["card"].attributes["stain"] == stores["said"].attributes["stain"] == macenko
    assert stores["card"].attributes["stain_fit"]["method"] == "macenko"
    assert stores["card"].attributes["encoder"]["stain"] == "macenko"
    assert stores["other"].attributes["stain"]["method"] == "reinhard"
    assert stores["none"].attributes["stain"] is None
    for ours, same in (("card", "said"), ("none", "plain")):
        np.testing.assert_array_equal(stores[ours].features(), stores[same].features())
    assert np.abs(stores["card"].features() - stores["none"].features()).max() > 1
    written = yaml.safe_load((tmp_path / "card/slidestream.yaml").read_text())
    assert written["config"]["stain"] == macenko, "every default is written out"
    card, none, said = (
        EmbeddingContract.from_attributes(stores[name].attributes) for name in ("card", "none", "said")
    )
    with pytest.raises(ContractMismatch, match="stain"):
        require_equal(card, none, "a")
    # Not what was asked for decides, but what was done.
    require_equal(replace(card, encoder=replace(card.encoder, name="mean")), said, "a")


def test_a_folder_goes_on_as_it_was_made(
    cli: Cli, stored: Callable[..., Any], slide: Path, asking: str, tmp_path: Path
) -> None:
    stored("card", asking)
    stored("none", asking, "--stain", "none")
    for name in ("card", "none"):
        made = ("run", slide, "-o", tmp_path / name, "--config", tmp_path / name / "slidestream.yaml")
        assert "1 up to date" in cli(*made).out
    refused = cli("run", slide, "-o", tmp_path / "none", "--encoder", asking, "--mpp", 1)
    assert refused.code == 2
    assert "stain" in refused.err
    file = tmp_path / "none/slidestream.yaml"
    planned = cli("plan", slide, "-o", tmp_path / "on", "--config", file, "--stain", "ruifrok", "--json")
    assert planned.code == 0, planned.err
    assert '"method": "ruifrok"' in planned.out


def test_encoders_of_other_stains_do_not_share_a_pass(
    cli: Cli, slide: Path, asking: str, tmp_path: Path
) -> None:
    command = ("run", slide, "-o", tmp_path / "runs", "--encoder", asking, "--encoder", "mean", "--mpp", 1)
    refused = cli(*command)
    assert refused.code == 2
    assert "other stains" in refused.err
    assert cli(*command, "--stain", "none", "--readers", 0).code == 0


def test_a_method_that_does_not_exist(
    cli: Cli, slide: Path, asking: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built = BUILDERS[asking]()
    monkeypatch.setitem(BUILDERS, asking, lambda: Encoder(replace(built.card, stain="makenco"), built.module))
    ended = cli("run", slide, "-o", tmp_path / "run", "--encoder", asking, "--mpp", 1)
    assert ended.code == 2
    assert "Known methods: macenko" in ended.err


def test_a_yaml_card_can_ask_for_it(tmp_path: Path) -> None:
    values = {"name": "ours", "source": "file:w", "licence": "x", "dim": 1, "input_px": 8, "stain": "macenko"}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(values | {"architecture": "timm:resnet18"}))
    assert read_card(tmp_path / "card.yaml").stain == "macenko"
