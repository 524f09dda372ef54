"""What befalls the computation: memory of the device, workers that die, heads that meet other embeddings."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slidestream.features.card import EncoderCard
from slidestream.features.encoder import BUILDERS, Encoder
from slidestream.features.store import open_store

from ..conftest import call_main, register_mean
from .conftest import SMALL, Cli, Draw, Plant, codes, tree

FITS = 8


class Narrow(torch.nn.Module):
    """Mean colours on a device that has memory for eight patches."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(pixels))
        if len(pixels) > FITS:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return pixels.float().mean(dim=(2, 3))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Narrow:
    """The module of an encoder called "narrow", otherwise like "mean"."""
    module = Narrow()
    card = EncoderCard("narrow", "test", "1", "", "none", False, dim=3, input_px=64, patch_px=64)
    monkeypatch.setitem(BUILDERS, "narrow", lambda: Encoder(card, module))
    return module


def test_out_of_memory_halves_the_batch_and_remembers_it(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path], narrow: Narrow
) -> None:
    slides = draw_slides("a", "b", side=1600)
    options = ["--patch-size", "64", "--mpp", "1", "--batch-size", "32", "--readers", "0"]
    cli("run", slides, "-o", tmp_path / "wide", "--encoder", "mean", *options)
    ended = cli("run", slides, "-o", tmp_path / "narrow", "--encoder", "narrow", *options)
    assert (ended.code, ended.err.count("failed")) == (0, 0)
    assert narrow.asked[:3] == [32, 16, 8]
    assert max(narrow.asked[2:]) == FITS, "never tried again, also not for the second slide"
    for name in ("a", "b"):
        wide, found = (open_store(tmp_path / run / f"embeddings/{name}.zarr") for run in ("wide", "narrow"))
        assert len(found.coords()) > 32
        np.testing.assert_allclose(found.features(), wide.features(), rtol=1e-6)


POISON = """
path = str(given[0]) if event == "open" else ""
if ".poison.zarr.partial" in path:
    os.kill(os.getpid(), signal.SIGKILL)
if ".fragile.zarr.partial" in path and not os.path.exists(mark):
    os.close(os.open(mark, os.O_CREAT))
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""Kills the worker that begins a store of this name; of the fragile one only the first."""


@pytest.fixture
def cluster(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster of two worker processes in which the poison is planted."""
    distributed = pytest.importorskip("distributed", reason="needs slidestream[dask]")
    import dask

    planted = plant(POISON, mark=str(tmp_path / "mark"))
    monkeypatch.setenv("PYTHONPATH", planted["PYTHONPATH"])
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.nanny.environ.OMP_NUM_THREADS": 1}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=50,
            local_directory=str(tmp_path),
        ) as local,
    ):
        yield local.scheduler_address


def test_a_dead_worker_costs_nothing_and_a_poison_slide_itself(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path], cluster: str
) -> None:
    slides = draw_slides("a", "b", "fragile", "poison", "z")
    options = ["--encoder", "null", "--patch-size", "64", "--mpp", "1"]
    ended = cli("run", slides, "-o", tmp_path / "run", *options, "--dask", cluster, "--json")
    expected = {"a": "", "b": "", "fragile": "", "poison": "WORKER_DIED", "z": ""}
    assert (ended.code, codes(ended)) == (3, expected)
    assert len(json.loads(ended.out)["outcomes"]) == len(expected), "none is told of twice"
    assert cli("verify", tmp_path / "run").code == 0
    for path in slides.iterdir():
        if path.stem != "poison":
            cli("run", path, "-o", tmp_path / "here", *options, "--readers", 0)
    assert tree(tmp_path / "run/embeddings") == tree(tmp_path / "here/embeddings")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, write_slide: Draw, tissue_pixels: Draw) -> Path:
    """A folder with eight slides of two classes that differ in colour, their run, and a head of it."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "slides").mkdir()
    rows = [["slide", "patient", "label"]]
    for i in range(8):
        pixels = tissue_pixels(500, i).astype(int)
        pixels[..., 1] -= 40 * (i % 2) * (pixels[..., 1] < 230)
        picture = pixels.clip(0, 255).astype(np.uint8)
        write_slide(folder / f"slides/s{i}.tiff", picture, 0.5)
        rows.append([f"s{i}", f"p{i}", "high" if i % 2 else "low"])
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.MonkeyPatch.context() as patched:
        register_mean(patched)
        run, options = folder / "run", ["--labels", folder / "labels.csv", "--folds", 2, "--epochs", 2]
        assert call_main(patched, "run", folder / "slides", "-o", run, *SMALL, "--readers", 0) == 0
        assert call_main(patched, "train", run, *options, "-o", folder / "head") == 0
    return folder


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        (["--mpp", "2"], ["patch.spacing: 1.0 != 2.0"]),
        (["--patch-size", "32", "--mpp", "2"], ["patch.size_px: 64 != 32", "patch.spacing: 1.0 != 2.0"]),
        (["--encoder", "texture"], ['encoder.name: "mean" != "texture"', "encoder.dim: 3 != 183"]),
    ],
    ids=["spacing", "size", "encoder"],
)
def test_a_head_refuses_other_embeddings_and_names_the_fields(
    cli: Cli, tmp_path: Path, trained: Path, options: list[str], differing: list[str]
) -> None:
    head = trained / "head"
    predicted = cli("predict", trained / "run", "--head", head, "--json")
    assert len(json.loads(predicted.out)["predictions"]) == 8
    one: Any = trained / "slides/s0.tiff"
    first = SMALL if "--encoder" not in options else SMALL[2:]  # twice would be two encoders
    cli("run", one, "-o", tmp_path / "other", *first, *options, "--readers", 0)
    for command in (
        ["predict", tmp_path / "other"],
        ["heatmap", tmp_path / "other", "-o", tmp_path / "maps"],
    ):
        refused = cli(*command, "--head", head)
        assert (refused.code, "CONTRACT_MISMATCH" in refused.err) == (2, True)
        for line in differing:
            assert line in refused.err
    assert not list((tmp_path / "maps").iterdir())
