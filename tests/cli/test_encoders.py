"""`slidestream encoders`, and runs with weights: what is listed, fetched, carried, refused and recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from slidestream.features.store import open_store
from slidestream.features.zoo.weights import file_sha256, weights_path

from ..features.zoo import tiny

Cli = Callable[..., Any]
NAME = "lunit-dino-s8"


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder / "a.tiff", tissue_pixels(300, 1), 0.5)
    return folder


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the encoder `NAME`, made small, lie in this folder."""
    tiny(monkeypatch, tmp_path / "weights")
    return tmp_path / "weights"


def test_the_list(cli: Cli, small: Path) -> None:
    document = json.loads(cli("encoders", "--json").out)
    assert json.loads(cli("encoders", "list", "--json").out) == document
    by_name = {card["name"]: card for card in document["encoders"]}
    assert len(by_name) >= 25
    assert by_name[NAME]["weights_present"] is True
    uni = by_name["uni"]
    assert (uni["dim"], uni["patch_px"], uni["spacings"]) == (1024, 256, [0.5])
    assert (uni["licence"], uni["gated"], uni["weights_present"]) == ("CC-BY-NC-ND-4.0", True, False)
    shown = cli("encoders").out
    assert {"virchow2", "2560", "Apache-2.0", "present"} <= set(shown.split())
    assert "built in" in shown


def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['slidestream', 'encoders']; from slidestream.cli.app import _run; _run();"
        "print([m for m in ('torch', 'timm', 'huggingface_hub') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.rstrip().endswith("[]")


def test_one_card(cli: Cli, small: Path) -> None:
    shown = json.loads(cli("encoders", "show", "virchow2", "--json").out)
    assert shown["home"] == "https://huggingface.co/paige-ai/Virchow2"
    assert shown["path"].endswith("paige-ai--Virchow2/pytorch_model.bin")
    assert "registers" in cli("encoders", "show", "virchow2").out
    assert cli("encoders", "show", "virchow3").code == 2


def test_missing_weights_end_a_run_at_once(cli: Cli, slides: Path, small: Path, tmp_path: Path) -> None:
    for command in ("run", "plan"):
        ended = cli(command, slides, "-o", tmp_path / "run", "--encoder", "virchow2")
        assert ended.code == 5
        assert "WEIGHTS_MISSING" in ended.err
        assert "slidestream encoders pull virchow2" in ended.err
        assert "CC-BY-NC-ND-4.0" not in ended.out
    assert not (tmp_path / "run").exists()


def test_a_run_records_licence_hash_and_precision(
    cli: Cli, slides: Path, small: Path, tmp_path: Path
) -> None:
    ended = cli("run", slides, "-o", tmp_path / "run", "--encoder", NAME, "--readers", "0")
    assert ended.code == 0
    assert "licence of the weights unconfirmed" in ended.err
    store = open_store(tmp_path / "run/embeddings/a.zarr")
    card = store.attributes["encoder"]
    (weights,) = small.rglob("*.safetensors")
    assert card["sha256"] == file_sha256(weights)
    assert card["licence"].startswith("unconfirmed")
    assert store.attributes["precision"] == "fp32"
    assert store.features().shape[1] == 48
    assert np.isfinite(store.features()).all()
    written = yaml.safe_load((tmp_path / "run/slidestream.yaml").read_text())
    assert written["encoder_card"]["sha256"] == card["sha256"]
    other = cli("run", slides, "-o", tmp_path / "run", "--encoder", NAME, "--precision", "bf16")
    assert other.code == 2
    assert "precision" in other.err
    half = cli(
        "run", slides, "-o", tmp_path / "half", "--encoder", NAME, "--precision", "bf16", "--readers", "0"
    )
    assert half.code == 0
    loaded = open_store(tmp_path / "half/embeddings/a.zarr")
    assert loaded.attributes["precision"] == "bf16"
    assert loaded.features().dtype == np.float32


def test_other_weights_never_enter_the_same_folder(
    cli: Cli, slides: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("run", slides, "-o", tmp_path / "run", "--encoder", NAME, "--readers", "0").code == 0
    card, network = tiny(monkeypatch, tmp_path / "others")
    from ..features.zoo import randomise, save

    save(randomise(network, seed=7).state_dict(), weights_path(card))
    ended = cli("run", slides, "-o", tmp_path / "run", "--encoder", NAME, "--readers", "0")
    assert ended.code == 2
    assert "encoder_card.sha256" in ended.err


def test_a_wrong_spacing_is_refused_unless_forced(
    cli: Cli, slides: Path, small: Path, tmp_path: Path
) -> None:
    wrong = ["run", slides, "-o", tmp_path / "run", "--encoder", NAME, "--mpp", "1", "--readers", "0"]
    ended = cli(*wrong)
    assert ended.code == 2
    assert "0.5" in ended.err
    assert cli(*wrong, "--force-spacing").code == 0
    written = yaml.safe_load((tmp_path / "run/slidestream.yaml").read_text())
    assert written["config"]["force_spacing"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--precision", "fp8"], "fp32, bf16 or fp16"),
        (["--precision", "bf16"], "fp32 only"),
        (["--patch-size", "32"], "Use at least 64 px"),
    ],
)
def test_precisions_that_there_are_not(
    cli: Cli, slides: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    ended = cli("run", slides, "-o", tmp_path / "run", "--encoder", "texture", *arguments)
    assert ended.code == 2
    assert said in ended.err


def test_pull_of_what_is_here_checks_it(cli: Cli, small: Path) -> None:
    ended = cli("encoders", "pull", NAME, "texture", "--json")
    assert ended.code == 0
    (row,) = json.loads(ended.out)["pulled"]
    assert row["sha256"] == file_sha256(Path(row["path"]))
    assert "licence of the weights" in ended.err
    assert "built in" in ended.err
    Path(row["path"]).write_bytes(b"another")
    assert cli("encoders", "pull", NAME).code == 5


def test_bundle(cli: Cli, small: Path, tmp_path: Path) -> None:
    ended = cli("encoders", "bundle", tmp_path / "carry", NAME)
    assert ended.code == 0
    assert "SLIDESTREAM_WEIGHTS" in ended.out
    assert len(list((tmp_path / "carry").rglob("*.safetensors"))) == 1
    assert cli("encoders", "bundle", tmp_path / "carry", "uni").code == 5
