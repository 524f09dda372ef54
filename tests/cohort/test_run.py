"""A run: stores equal to an oracle, nothing twice, nothing lost, whatever is thrown at it."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.ledger import read_entries, rebuild
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, Summary, run_cohort, verify_run
from slidestream.errors import ContractMismatch, DiskFull, UsageError
from slidestream.features.layout import list_stores
from slidestream.features.store import open_store
from slidestream.tiling.spec import PatchSpec

PATCH = PatchSpec(64, 1.0, min_tissue=0.5)
CONFIG = RunConfig("mean", PATCH)


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


def run(slides: Path, folder: Path, config: RunConfig = CONFIG, **means: Any) -> Summary:
    order = RunOrder(
        find_inputs([slides]).inputs, config, folder, Execution(**{"workers": 2, "readers": 0} | means)
    )
    return run_cohort(order, Silent())


def reasons(summary: Summary) -> dict[str, str]:
    return {step.input.slide_id: step.reason for step in summary.steps if step.todo}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]) -> Path:
    """Three slides of 600 px at 0.5 µm: two with tissue, one of empty glass."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder / "a.tiff", tissue_pixels(600, 1), 0.5)
    write_slide(folder / "b.tiff", tissue_pixels(600, 2), 0.5, levels=2)
    write_slide(folder / "white.tiff", np.full((600, 600, 3), 244, np.uint8), 0.5)
    return folder


@pytest.mark.usefixtures("mean_encoder")
def test_stores_hold_what_openslide_says(slides: Path, tmp_path: Path) -> None:
    """Mean colours of 128 px squares read by OpenSlide, which halving by an area filter keeps."""
    summary = run(slides, tmp_path / "run")
    assert {o.slide_id: o.status for o in summary.outcomes} == {
        "a": "done",
        "b": "done",
        "white": "no_tissue",
    }
    assert summary.failures == []
    store = open_store(tmp_path / "run/embeddings/a.zarr")
    assert store.attributes["extent"] == [128.0, 128.0]
    assert store.attributes["source"]["spacing"] == [0.5, 0.5]
    slide = openslide.OpenSlide(slides / "a.tiff")
    assert 5 < len(store.coords()) < 16
    for (x, y), embedding in zip(store.coords().tolist(), store.features(), strict=True):
        assert x % 128 == y % 128 == 0
        square = np.asarray(slide.read_region((x, y), 0, (128, 128)).convert("RGB"), float)
        np.testing.assert_allclose(embedding, square.mean(axis=(0, 1)), atol=1.0)
    white = open_store(tmp_path / "run/embeddings/white.zarr")
    assert white.coords().shape == (0, 2)
    assert white.thumbnail().min() > 240
    assert not white.mask().any()


@pytest.mark.usefixtures("mean_encoder")
def test_a_second_run_computes_nothing_and_says_why(slides: Path, tmp_path: Path) -> None:
    run(slides, tmp_path / "run")
    before = tree(tmp_path / "run/embeddings")
    moved = slides.rename(tmp_path / "elsewhere")
    os.utime(moved / "a.tiff", (1, 1))
    summary = run(moved, tmp_path / "run")
    assert summary.outcomes == []
    assert {s.reason for s in summary.steps} == {"same content, same configuration, store whole"}
    assert tree(tmp_path / "run/embeddings") == before


@pytest.mark.usefixtures("mean_encoder")
def test_only_what_changed_is_redone(
    slides: Path, tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]
) -> None:
    run(slides, tmp_path / "run")
    write_slide(slides / "b.tiff", tissue_pixels(600, 9), 0.5)
    found = reasons(run(slides, tmp_path / "run"))
    assert list(found) == ["b"]
    assert found["b"].startswith("changed: source.identity")


@pytest.mark.usefixtures("mean_encoder")
def test_results_do_not_depend_on_batches_or_workers(slides: Path, tmp_path: Path) -> None:
    run(slides, tmp_path / "one", batch_size=3, workers=1)
    run(slides, tmp_path / "two", batch_size=64, workers=4)
    one, two = (tree(tmp_path / name / "embeddings") for name in ("one", "two"))
    assert one == two


@pytest.mark.usefixtures("mean_encoder")
def test_another_configuration_needs_another_folder(slides: Path, tmp_path: Path) -> None:
    run(slides, tmp_path / "run")
    with pytest.raises(ContractMismatch, match=r"config.patch.overlap: 0.0 != 0.5"):
        run(slides, tmp_path / "run", RunConfig("mean", PatchSpec(64, 1.0, overlap=0.5, min_tissue=0.5)))


def test_an_encoder_refuses_a_spacing_it_was_not_made_for(slides: Path, tmp_path: Path) -> None:
    config = RunConfig("texture", PatchSpec(224, 0.5))
    with pytest.raises(UsageError, match="takes patches at 1 µm"):
        run(slides, tmp_path / "run", config)


@pytest.mark.usefixtures("mean_encoder")
def test_a_damaged_store_is_found_named_and_healed_alone(slides: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(slides, folder)
    clean = tree(folder / "embeddings")
    chunk = folder / "embeddings/a.zarr/features/c/0/0"
    data = bytearray(chunk.read_bytes())
    data[10] ^= 1
    chunk.write_bytes(data)
    found = [problem for _, problems in verify_run(folder) for problem in problems]
    assert [(p.slide_id, p.array) for p in found] == [("a", "features")]
    assert read_entries(folder)["a"].outcome.status == "damaged"
    (row,) = csv.DictReader((folder / "failures.csv").read_text().splitlines())
    assert (row["slide_id"], row["code"]) == ("a", "STORE_CORRUPT")
    assert reasons(run(slides, folder)) == {"a": "its store failed verification"}
    assert tree(folder / "embeddings") == clean
    assert not any(problems for _, problems in verify_run(folder))


@pytest.mark.usefixtures("mean_encoder")
def test_a_lost_chunk_is_healed_without_verification(slides: Path, tmp_path: Path) -> None:
    run(slides, tmp_path / "run")
    (tmp_path / "run/embeddings/b.zarr/coords/c/0/0").unlink()
    assert reasons(run(slides, tmp_path / "run")) == {"b": "a chunk of coords is missing or cut short"}


@pytest.mark.usefixtures("mean_encoder")
def test_the_ledger_is_only_an_index(slides: Path, tmp_path: Path) -> None:
    run(slides, tmp_path / "run")
    before = {key: entry.outcome.status for key, entry in read_entries(tmp_path / "run").items()}
    (tmp_path / "run/ledger.sqlite").unlink()
    rebuild(tmp_path / "run")
    assert {key: entry.outcome.status for key, entry in read_entries(tmp_path / "run").items()} == before
    assert run(slides, tmp_path / "run").outcomes == []


@pytest.mark.usefixtures("mean_encoder")
def test_interrupted_in_the_middle_then_resumed_equals_uninterrupted(slides: Path, tmp_path: Path) -> None:
    class Impatient(Silent):
        def patches(self, slide_id: str, done: int, total: int) -> None:
            if slide_id == "b":
                raise KeyboardInterrupt

    means = Execution(batch_size=2, readers=0)
    order = RunOrder(find_inputs([slides]).inputs, CONFIG, tmp_path / "run", means)
    with pytest.raises(KeyboardInterrupt):
        run_cohort(order, Impatient())
    assert list_stores(tmp_path / "run") == [tmp_path / "run/embeddings/a.zarr"]
    assert list(reasons(run(slides, tmp_path / "run"))) == ["b", "white"]
    run(slides, tmp_path / "whole")
    assert tree(tmp_path / "run/embeddings") == tree(tmp_path / "whole/embeddings")


@pytest.mark.usefixtures("mean_encoder")
@pytest.mark.parametrize("readers", [0, 1])
def test_inside_a_slide_a_resumed_run_goes_on_where_it_stopped(
    slides: Path, tmp_path: Path, readers: int
) -> None:
    class Told(Silent):
        def __init__(self, stop_after: int) -> None:
            self.stop_after, self.seen = stop_after, []  # type: ignore[var-annotated]

        def patches(self, slide_id: str, done: int, total: int) -> None:
            self.seen.append(done)
            if done >= self.stop_after:
                raise KeyboardInterrupt

    inputs = find_inputs([slides / "a.tiff"]).inputs
    order = RunOrder(inputs, CONFIG, tmp_path / "run", Execution(batch_size=2, readers=readers))
    with pytest.raises(KeyboardInterrupt):
        run_cohort(order, Told(6))
    second = Told(10**9)
    run_cohort(order, second)
    assert second.seen[0] == 8, "six patches were kept, the first new batch ends at eight"
    run(slides / "a.tiff", tmp_path / "whole", batch_size=2)
    assert tree(tmp_path / "run/embeddings") == tree(tmp_path / "whole/embeddings")


@pytest.mark.usefixtures("mean_encoder")
def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(slides, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/embeddings/b.zarr")

    def full(file: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slidestream.features.disk.write_all", full)
    with pytest.raises(DiskFull, match=r"b\.zarr"):
        run(slides, tmp_path / "run")
    assert [path.name for path in list_stores(tmp_path / "run")] == ["a.zarr", "white.zarr"]


@pytest.mark.usefixtures("mean_encoder")
def test_an_unforeseen_error_costs_one_slide_and_never_quotes_its_message(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slidestream.cohort import reading

    original = reading.overview

    def overview(source: Any, *how: Any) -> Any:
        if source.path.name == "a.tiff":
            raise RuntimeError("Patient Jane Doe")
        return original(source, *how)

    monkeypatch.setattr(reading, "overview", overview)
    summary = run(slides, tmp_path / "run")
    (failure,) = summary.failures
    assert (failure.slide_id, failure.code) == ("a", "INTERNAL")
    assert failure.cause.startswith("RuntimeError in test_run.py, line ")
    assert b"Jane" not in b"".join(tree(tmp_path / "run").values())


def embeddings(run_folder: Path, name: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    store = open_store(run_folder / "embeddings" / f"{name}.zarr")
    return store.coords(), store.status(), store.features()


@pytest.mark.usefixtures("mean_encoder")
def test_one_bad_tile_costs_the_patches_that_touch_it(real: Callable[[str], Path], tmp_path: Path) -> None:
    config = RunConfig("mean", PatchSpec(64, 1.0, min_tissue=0.0), max_unreadable=0.1)
    run(real("malformed/svs_mutants/tile_jpeg_garbage.svs"), tmp_path / "bad", config)
    run(real("wsi/CMU-1-Small-Region.svs"), tmp_path / "good", config)
    coords, status, features = embeddings(tmp_path / "bad", "tile_jpeg_garbage")
    clean_coords, clean_status, clean_features = embeddings(tmp_path / "good", "CMU-1-Small-Region")
    np.testing.assert_array_equal(coords, clean_coords)
    assert not clean_status.any()
    bad = status == 1
    assert 1 <= bad.sum() <= 9
    assert np.isnan(features[bad]).all()
    np.testing.assert_array_equal(features[~bad], clean_features[~bad])
    counts = open_store(tmp_path / "bad/embeddings/tile_jpeg_garbage.zarr").attributes["counts"]
    assert counts["unreadable"] == bad.sum() == read_entries(tmp_path / "bad").popitem()[1].outcome.unreadable


@pytest.mark.usefixtures("mean_encoder")
def test_unreadable_patches_are_listed_where_they_lie(real: Callable[[str], Path], tmp_path: Path) -> None:
    """All patches on the one bad tile: in the store's attributes, in the ledger, in the ledger made anew."""
    slide = real("malformed/svs_mutants/tile_jpeg_garbage.svs")
    config = RunConfig("mean", PatchSpec(64, 0.499, min_tissue=0.0), max_unreadable=0.1)
    (outcome,) = run(slide, tmp_path / "run", config).outcomes
    broken, handle = [], openslide.OpenSlide(slide)
    corners = embeddings(tmp_path / "run", slide.stem)[0]
    for x, y in corners.tolist():
        try:
            handle.read_region((x, y), 0, (64, 64))
        except openslide.OpenSlideError:
            broken.append((x, y))
            handle.close()
            handle = openslide.OpenSlide(slide)  # a handle stays in error after one failed read
    handle.close()
    assert len(broken) >= 9
    assert outcome.quarantine == tuple(broken)
    attributes = open_store(tmp_path / f"run/embeddings/{slide.stem}.zarr").attributes
    assert attributes["unreadable"] == [list(corner) for corner in broken]
    for _ in range(2):
        (entry,) = read_entries(tmp_path / "run").values()
        assert (entry.outcome.quarantine, entry.outcome.unreadable) == (tuple(broken), len(broken))
        rebuild(tmp_path / "run")


@pytest.mark.usefixtures("mean_encoder")
def test_too_many_bad_patches_fail_the_slide(real: Callable[[str], Path], tmp_path: Path) -> None:
    config = RunConfig("mean", PatchSpec(64, 1.0, min_tissue=0.0), max_unreadable=0.001)
    summary = run(real("malformed/svs_mutants/tile_jpeg_garbage.svs"), tmp_path / "bad", config)
    (failure,) = summary.failures
    assert failure.code == "UNREADABLE"
    assert "--max-unreadable" in failure.fix
    assert list((tmp_path / "bad/embeddings").iterdir()) == []


KILLED = """
from pathlib import Path
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.tiling.spec import PatchSpec

class Told:
    def planned(self, step): ...
    def begins(self, jobs): print("begun", flush=True)
    def patches(self, slide_id, done, total): ...
    def finished(self, outcome): ...

inputs, config = find_inputs([Path({slides!r})]).inputs, RunConfig("null", PatchSpec(32, 0.5))
run_cohort(RunOrder(inputs, config, Path({run!r}), Execution()), Told())
"""


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(
    tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]
) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    for seed in range(4):
        write_slide(folder / f"s{seed}.tiff", tissue_pixels(1500, seed), 0.5)
    config = RunConfig("null", PatchSpec(32, 0.5))
    run(folder, tmp_path / "whole", config)
    expected = tree(tmp_path / "whole/embeddings")
    code = KILLED.format(slides=str(folder), run=str(tmp_path / "run"))
    for delay in (0.05, 0.25, 0.5):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        victim = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert victim.stdout is not None
        assert victim.stdout.readline() == "begun\n"
        time.sleep(delay)
        victim.send_signal(signal.SIGKILL)
        assert victim.wait() == -signal.SIGKILL or delay > 0.05, "killed too late to show anything"
        victim.stdout.close()
        run(folder, tmp_path / "run", config)
        assert tree(tmp_path / "run/embeddings") == expected
