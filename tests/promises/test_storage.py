"""What befalls the disk: damaged chunks are named and healed, a full disk costs nothing that is finished."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slidestream.errors import StoreIncomplete
from slidestream.features import disk
from slidestream.features.store import open_store

from ..conftest import call_main, register_mean
from .conftest import SMALL, Cli, Draw, outcomes, tree, written


def delete(chunk: Path) -> None:
    chunk.unlink()


def flip(chunk: Path) -> None:
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)


def cut(chunk: Path) -> None:
    chunk.write_bytes(chunk.read_bytes()[:-1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_slide: Draw, tissue_pixels: Draw) -> Path:
    """A folder with two slides and a run of them."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "slides").mkdir()
    for seed, name in enumerate("ab"):
        write_slide(folder / f"slides/{name}.tiff", tissue_pixels(600, seed), 0.5)
    with pytest.MonkeyPatch.context() as patched:
        register_mean(patched)
        command = ["run", folder / "slides", "-o", folder / "run", *SMALL, "--readers", 0]
        assert call_main(patched, *command) == 0
    return folder


@pytest.mark.parametrize("array", ["coords", "status", "tissue", "features", "thumbnail", "mask"])
@pytest.mark.parametrize("damage", [delete, flip, cut])
def test_a_damaged_chunk_is_named_and_exactly_that_slide_is_healed(
    cli: Cli, tmp_path: Path, whole: Path, array: str, damage: Callable[[Path], None]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole / "run", run)
    command = ("run", whole / "slides", "-o", run, *SMALL, "--readers", 0)
    clean, left_alone = tree(run / "embeddings"), written(run / "embeddings/b.zarr")
    (chunk,) = (path for path in (run / f"embeddings/a.zarr/{array}/c").rglob("*") if path.is_file())
    damage(chunk)
    ended = cli("verify", run, "--json")
    assert ended.code == 4
    assert [(p["slide_id"], p["array"]) for p in json.loads(ended.out)["problems"]] == [("a", array)]
    table = cli("verify", run)
    assert (table.code, "1 damaged" in table.out, array in table.out) == (4, True, True)
    healed = cli(*command, "--json")
    assert (healed.code, list(outcomes(healed))) == (0, ["a"])
    assert tree(run / "embeddings") == clean
    assert written(run / "embeddings/b.zarr") == left_alone
    assert cli("verify", run).code == 0


def test_a_full_disk_while_a_slide_is_written(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    slides, run = draw_slides("a", "b", "c"), tmp_path / "run"
    command = ("run", slides, "-o", run, *SMALL, "--readers", 0)
    cli("run", slides / "a.tiff", *command[2:])
    finished = written(run / "embeddings")

    def full(file: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "write_all", full)
        ended = cli(*command)
    assert ended.code == 5
    assert "DISK_FULL" in ended.err
    assert "run the same command again" in ended.err
    assert cli("verify", run).code == 0
    assert written(run / "embeddings") == finished
    with pytest.raises(StoreIncomplete):
        open_store(run / "embeddings/b.zarr")
    assert cli(*command).code == 0
    assert {key: value for key, value in written(run / "embeddings").items() if key in finished} == finished


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """`small_disk(kib)` is a file system of that size; called again it is resized and keeps its files."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(kib: int) -> Path:
        size = f"remount,size={kib}k" if place.is_mount() else f"size={kib}k"
        command = ["mount", "-t", "tmpfs", "-o", size, "none", str(place)]
        if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a file system of a given size cannot be mounted here")
        return place

    yield mount
    if place.is_mount():
        # Lazily: whoever still holds a file there lets go of it when the test session ends.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_full_at_any_moment(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path], small_disk: Callable[[int], Path]
) -> None:
    """It grows a little from run to run: full amid the configuration, the ledger, the claims, a store."""
    slides, run = draw_slides("a", "b", side=1200), small_disk(4) / "run"
    options = [*SMALL, "--readers", 0]
    cli("run", slides, "-o", tmp_path / "whole", *options)
    whole = {path.name: tree(path) for path in (tmp_path / "whole/embeddings").iterdir()}
    stopped_after = []
    for kib in range(4, 2000, 12):
        small_disk(kib)
        ended = cli("run", slides, "-o", run, *options)
        stores = list((run / "embeddings").glob("*.zarr"))
        assert all(tree(store) == whole[store.name] for store in stores if is_complete(store))
        if ended.code == 0:
            break
        assert (ended.code, "DISK_FULL" in ended.err) == (5, True), f"{kib} KiB: {ended.err}"
        # A claim that could not be given back is kept while its owner lives, which here is one process.
        (run / "claims.sqlite").unlink(missing_ok=True)
        stopped_after.append(len([store for store in stores if is_complete(store)]))
    assert {0, 1} <= set(stopped_after), "before the first store, and between the two"
    assert {path.name: tree(path) for path in (run / "embeddings").iterdir()} == whole
    assert cli("verify", run).code == 0


def is_complete(store: Path) -> bool:
    try:
        open_store(store)
    except StoreIncomplete:
        return False
    return True
