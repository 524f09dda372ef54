"""Files of TRIDENT, CLAM, STAMP and AnnData train as the stores that an import makes of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from slidestream.cohort.exchange import export_run, import_folder
from slidestream.errors import ContractMismatch, InputError, UnsupportedFormat, UsageError
from slidestream.features.layout import list_stores
from slidestream.features.store import open_store
from slidestream.mil.artifact import load_head
from slidestream.mil.contract import require_equal
from slidestream.mil.source import H5Source, StoreSource, bag_source
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

SPEC = TrainSpec(folds=3, epochs=4, hidden=16, attention=8, bootstrap=5)
RNG = np.random.default_rng(0)


def write(path: Path, name: str = "features", rows: int = 6, **attributes: Any) -> np.ndarray:
    """As TRIDENT (attributes of `coords`), CLAM (none) or, with `feats`, STAMP (of the file) write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x = RNG.normal(size=(rows, 5)).astype(np.float16 if name == "feats" else np.float32)
    with h5py.File(path, "w") as file:
        file[name] = x
        step = 112.0 if name == "feats" else 512
        file["coords"] = np.stack([np.arange(rows) % 3, np.arange(rows) // 3], 1) * step
        (file if name == "feats" else file["coords"]).attrs.update(attributes)
    return x


TRIDENT = {"patch_size": 256, "patch_size_level0": 512, "level0_width": 2048, "level0_height": 2048}
STAMP = {"unit": "um", "tile_size_um": 112.0, "tile_size_px": 224, "extractor": "uni"}


@pytest.mark.parametrize(
    ("place", "name", "attributes", "corner"),
    [
        ("features_uni", "features", TRIDENT, [512, 0]),
        ("h5_files", "features", {}, [512, 0]),
        (".", "feats", STAMP, [112, 0]),
    ],
)
def test_each_form_is_read(
    place: str, name: str, attributes: dict[str, Any], corner: list[int], tmp_path: Path
) -> None:
    x = write(tmp_path / place / "s1.h5", name, **attributes)
    write(tmp_path / place / "s0.h5", name, rows=4, **attributes)
    source = bag_source(tmp_path)
    assert isinstance(source, H5Source)
    assert source.slides == ["s0", "s1"]
    assert [source.count(slide) for slide in source.slides] == [4, 6]
    bag = source.load("s1")
    np.testing.assert_array_equal(bag.features, x.astype(np.float32))
    assert bag.coords[1].tolist() == corner
    assert source.identity("s0") != source.identity("s1")
    require_equal(source.contract("s0"), source.contract("s1"), "s1")


def test_rows_without_an_embedding_stay_out(tmp_path: Path) -> None:
    write(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["features"][1, 2] = np.nan
    source = bag_source(tmp_path)
    assert source.count("s") == 5
    assert source.load("s").coords[1].tolist() == [1024, 0]
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["features"][0, 0] = np.inf
    with pytest.raises(InputError, match="infinite"):
        bag_source(tmp_path).load("s")


@pytest.mark.parametrize("form", ["trident", "clam", "stamp", "anndata"])
def test_our_own_exports_train_to_the_same_head(form: str, cohort: tuple[Path, Path], tmp_path: Path) -> None:
    for outcome in export_run(cohort[0], form, tmp_path / form):
        assert not outcome.code
    source, stores = bag_source(tmp_path / form), StoreSource(cohort[0])
    assert isinstance(source, H5Source)
    assert source.slides == stores.slides
    for slide in ("s00", "s23"):
        assert source.contract(slide) == stores.contract(slide)
        assert source.identity(slide) == stores.identity(slide)
        torch.testing.assert_close(source.load(slide).features, stores.load(slide).features)
    if form == "trident":
        theirs = train(tmp_path / form, cohort[1], tmp_path / "other", SPEC)
        ours = train(*cohort, tmp_path / "head", SPEC)
        assert ours.metrics == theirs.metrics


def test_a_head_understands_the_import_of_its_folder_and_no_other(tmp_path: Path) -> None:
    labels = ["slide,patient,label"]
    for number in range(12):
        write(tmp_path / f"files/s{number}.h5", **TRIDENT)
        labels.append(f"s{number},p{number},{'ab'[number % 2]}")
    write(tmp_path / "more/x.h5", **TRIDENT)
    (tmp_path / "labels.csv").write_text("\n".join(labels) + "\n")
    train(tmp_path / "files", tmp_path / "labels.csv", tmp_path / "head", SPEC)
    needed = load_head(tmp_path / "head").contract
    assert needed.encoder.name == "imported:unknown"
    for folder in ("files", "more"):
        assert not any(o.code for o in import_folder(tmp_path / folder, tmp_path / f"{folder}.run"))
    same, other = (StoreSource(tmp_path / f"{folder}.run") for folder in ("files", "more"))
    require_equal(needed, same.contract("s3"), "s3")
    with pytest.raises(ContractMismatch, match="revision"):
        require_equal(needed, other.contract("x"), "x")
    (path, *_) = list_stores(tmp_path / "files.run")
    np.testing.assert_array_equal(
        open_store(path).features(), bag_source(tmp_path / "files").load("s0").features
    )


def test_files_that_are_not_to_be_trusted(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(UnsupportedFormat, match="no whole HDF5"):
        bag_source(tmp_path).load("a")
    x = write(tmp_path / "elsewhere/secret.h5")
    (tmp_path / "a.h5").unlink()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = h5py.ExternalLink("elsewhere/secret.h5", "features")
        file["coords"] = np.zeros((len(x), 2))
    with pytest.raises(UnsupportedFormat, match="no array 'features'"):
        H5Source(tmp_path).load("a")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", (10**7, 1024), "f4", chunks=(1024, 1024), compression="gzip")
        file["coords"] = np.zeros((4, 2))
    with pytest.raises(UnsupportedFormat, match="not in the file"):
        H5Source(tmp_path).load("a")


def test_two_files_of_one_slide_are_refused(tmp_path: Path) -> None:
    for encoder in ("features_uni", "features_conch"):
        write(tmp_path / encoder / "s.h5")
    with pytest.raises(UsageError, match="Several files are of s"):
        bag_source(tmp_path)


def test_training_on_stores_needs_no_h5py() -> None:
    code = "import sys; import slidestream.mil.source; print('h5py' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_the_command(cli: Callable[..., Any], tmp_path: Path) -> None:
    lines = ["slide,patient,label"]
    for number in range(8):
        write(tmp_path / f"files/s{number}.h5", **TRIDENT)
        lines.append(f"s{number},p{number},{'ab'[number % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    asked = ("--labels", tmp_path / "labels.csv", "-o", tmp_path / "head", "--folds", "2", "--epochs", "1")
    ended = cli("train", tmp_path / "files", *asked)
    assert ended.code == 0, ended.err
    assert (tmp_path / "head").is_dir()
