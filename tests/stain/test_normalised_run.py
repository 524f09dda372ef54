"""Whole runs with normalised patches: what is stored, refused, repeated and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Job
from slidestream.cohort.process import process
from slidestream.cohort.reading import read_here, resume_of
from slidestream.features.card import EncoderCard
from slidestream.features.encoder import card_of
from slidestream.features.store import open_store
from slidestream.stain.reference import reference
from slidestream.stain.spec import StainSpec
from slidestream.tiling.spec import PatchSpec

from ..he_slides import PURPLE, he_slide, write_stainings

Cli = Callable[..., Any]
PATCH = PatchSpec(64, 1.0)
MACENKO = StainSpec("macenko", reference("macenko"))


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path]) -> Path:
    """The same tissue in two stainings, and as it would look in grey."""
    return write_stainings(tmp_path / "slides", write_slide)


def features(run: Path, slide: str) -> NDArray[np.float32]:
    return open_store(run / f"embeddings/{slide}.zarr").features()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_patches_are_normalised_before_they_are_encoded(cli: Cli, slides: Path, tmp_path: Path) -> None:
    """Mean colours against least squares and exponentials on the slide's own pixels."""
    run = tmp_path / "run"
    ended = cli("run", slides / "a.tiff", "-o", run, "--encoder", "mean", "--mpp", 1, "--stain", "macenko")
    assert ended.code == 0, ended.err
    store = open_store(run / "embeddings/a.zarr")
    fit, target = store.attributes["stain_fit"], reference("macenko")
    assert store.attributes["stain"] == MACENKO.to_dict()
    angles = np.degrees(np.arccos((np.array(fit["stains"]) * PURPLE).sum(axis=1)))
    assert angles.max() < 3
    whole = he_slide(PURPLE)
    for (x, y), found in zip(store.coords(), store.features(), strict=True):
        od = -np.log((whole[y : y + 64, x : x + 64].reshape(-1, 3) + 1.0) / 240)
        amounts = od @ np.linalg.pinv(np.array(fit["stains"]))
        scaled = amounts * np.array(target.strengths) / np.array(fit["strengths"])
        expected = (240 * np.exp(-scaled @ np.array(target.stains)) - 1).round().clip(0, 255)
        np.testing.assert_allclose(found, expected.mean(axis=0), atol=0.01)


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_two_stainings_of_one_tissue_become_alike(cli: Cli, slides: Path, tmp_path: Path) -> None:
    apart = {}
    for name, options in {"raw": [], "done": ["--stain", "macenko"]}.items():
        inputs = [slides / "a.tiff", slides / "b.tiff"]
        assert cli("run", *inputs, "-o", tmp_path / name, "--encoder", "mean", "--mpp", 1, *options).code == 0
        apart[name] = np.abs(features(tmp_path / name, "a") - features(tmp_path / name, "b")).mean()
    assert apart["raw"] > 10
    assert apart["done"] < 2


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_what_cannot_be_normalised_fails_unless_it_is_let_through(
    cli: Cli, slides: Path, tmp_path: Path
) -> None:
    command = ["run", slides, "--encoder", "mean", "--mpp", 1]
    ended = cli(*command, "-o", tmp_path / "strict", "--stain", "reinhard", "--json")
    assert ended.code == 3
    outcomes = {o["slide_id"]: o for o in json.loads(ended.out)["outcomes"]}
    assert {key: o["code"] for key, o in outcomes.items()} == {"a": "", "b": "", "grey": "STAIN_UNFIT"}
    assert "--allow-unnormalised" in outcomes["grey"]["fix"]

    let = cli(*command, "-o", tmp_path / "let", "--stain", "reinhard", "--allow-unnormalised")
    assert let.code == 0, let.err
    assert cli(*command, "-o", tmp_path / "raw").code == 0
    assert open_store(tmp_path / "let/embeddings/grey.zarr").attributes["stain_fit"] is None
    np.testing.assert_array_equal(features(tmp_path / "let", "grey"), features(tmp_path / "raw", "grey"))
    np.testing.assert_array_equal(features(tmp_path / "let", "a"), features(tmp_path / "strict", "a"))
    assert np.abs(features(tmp_path / "let", "a") - features(tmp_path / "raw", "a")).mean() > 1


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_a_run_folder_holds_one_stain(cli: Cli, slides: Path, tmp_path: Path) -> None:
    command = ["run", slides / "a.tiff", "-o", tmp_path / "run", "--encoder", "mean", "--mpp", 1]
    assert cli(*command, "--stain", "macenko").code == 0
    again = cli(*command, "--stain", "macenko")
    assert "1 up to date" in again.out
    other = cli(*command)
    assert other.code == 2
    assert "stain" in other.err
    assert cli(*command, "--stain", "vahadane").code == 2


@pytest.mark.usefixtures("mean_encoder")
def test_stores_do_not_depend_on_readers_or_batches(slides: Path, tmp_path: Path) -> None:
    item = find_inputs([slides / "b.tiff"]).inputs[0]
    trees = []
    for name, batch, workers in (("one", 3, 1), ("two", 64, 4)):
        execution = Execution(batch_size=batch, workers=workers)
        job = Job(item, RunConfig("mean", PATCH, stain=MACENKO), tmp_path / name, execution)
        assert process(job).code == ""
        trees.append(tree(tmp_path / name / "embeddings/b.zarr"))
    assert trees[0] == trees[1]


def test_reader_processes_give_the_same_stores(cli: Cli, slides: Path, tmp_path: Path) -> None:
    command = ["run", slides / "a.tiff", slides / "b.tiff", "--patch-size", 128, "--stain", "vahadane"]
    for readers in (0, 2):
        ended = cli(*command, "-o", tmp_path / str(readers), "--readers", readers)
        assert ended.code == 0, ended.err
    assert tree(tmp_path / "0/embeddings") == tree(tmp_path / "2/embeddings")


@pytest.mark.usefixtures("mean_encoder")
def test_rows_of_a_killed_run_are_those_of_its_stain(slides: Path, tmp_path: Path) -> None:
    item = find_inputs([slides / "a.tiff"]).inputs[0]
    card: EncoderCard = card_of("mean")
    keys = set()
    for stain in (None, MACENKO, StainSpec("vahadane", reference("vahadane"))):
        job = Job(item, RunConfig("mean", PATCH, stain=stain), tmp_path / "run", Execution(), card=card)
        with read_here(job) as feed:
            keys.add(resume_of(job, feed.prepared).key)
    assert len(keys) == 3


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_another_slide_is_the_target(cli: Cli, slides: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["run", slides / "a.tiff", slides / "b.tiff", "-o", run, "--encoder", "mean", "--mpp", 1]
    options = ["--stain", "macenko", "--stain-target", slides / "a.tiff"]
    ended = cli(*command, *options)
    assert ended.code == 0, ended.err
    assert cli("run", *command[1:4][:2], "-o", tmp_path / "raw", "--encoder", "mean", "--mpp", 1).code == 0
    assert np.abs(features(run, "a") - features(tmp_path / "raw", "a")).mean() < 1, "it is its own target"
    assert np.abs(features(run, "b") - features(tmp_path / "raw", "a")).mean() < 2
    written = yaml.safe_load((run / "slidestream.yaml").read_text())["config"]["stain"]["target"]
    assert written == open_store(run / "embeddings/a.zarr").attributes["stain_fit"]
    assert "2 up to date" in cli(*command, *options).out, "the same target is fitted again"
    assert cli(*command, "--stain", "macenko", "--stain-target", slides / "b.tiff").code == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--stain", "makenco"], "Known methods: macenko"),
        (["--stain-target", "a.tiff"], "--stain macenko"),
        (["--allow-unnormalised"], "--stain macenko"),
        (["--set", "stain.metod=macenko"], "--stain macenko"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    cli: Cli, slides: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    options = [str(slides / o) if o.endswith(".tiff") else o for o in options]
    ended = cli("plan", slides, "-o", tmp_path / "run", *options)
    assert ended.code == 2
    assert told in ended.err


@pytest.mark.usefixtures("in_this_process")
def test_a_target_without_the_stains_is_named(cli: Cli, slides: Path, tmp_path: Path) -> None:
    options = ["--mpp", 1, "--stain", "macenko", "--stain-target", slides / "grey.tiff"]
    ended = cli("run", slides, "-o", tmp_path / "run", *options)
    assert ended.code == 3
    assert "STAIN_UNFIT" in ended.err
    assert not (tmp_path / "run").exists()


def test_volumes_have_no_stain() -> None:
    config = RunConfig(stain=MACENKO)
    assert config.stain_of("slide") == MACENKO
    assert config.stain_of("volume") is None
    assert RunConfig.from_dict(config.to_dict()) == config
