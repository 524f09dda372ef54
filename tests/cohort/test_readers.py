"""Reading in processes of its own: the same stores, and whatever a file does costs that file only."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.run import RunOrder, Summary, run_cohort
from slidestream.errors import EnvironmentProblem
from slidestream.features.layout import list_stores
from slidestream.features.verify import verify_store
from slidestream.features.writer import StoreWriter
from slidestream.tiling.spec import PatchSpec
from slidestream.tiling.stream import Reading

HERE = Path(__file__).parent
SHARED = Path("/dev/shm")
CONFIG = RunConfig("mean", PatchSpec(64, 1.0, min_tissue=0.0))

WITH_HOSTILE = os.environ | {"PYTHONPATH": str(HERE)}

Draw = Callable[..., Any]


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


def run(slides: Path, folder: Path, opener: Any = None, watcher: Any = None, **means: Any) -> Summary:
    execution = Execution(**{"workers": 2, "batch_size": 4, "readers": 2} | means)
    order = RunOrder(find_inputs([slides]).inputs, CONFIG, folder, execution)
    if opener:
        order = RunOrder(order.inputs, CONFIG, folder, execution, opener=opener)
    return run_cohort(order, watcher or Silent())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def endings(summary: Summary) -> list[dict[str, Any]]:
    return [outcome.to_dict() | {"seconds": 0} for outcome in summary.outcomes]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of misbehaving slides; reader processes get this process's sys.path."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("hostile")


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []
    # multiprocessing names its shared memory after the process; others may leave what they like.
    assert list(SHARED.glob(f"pym-{os.getpid()}-*")) == []


@pytest.fixture
def slides(tmp_path: Path, write_slide: Draw, tissue_pixels: Draw) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder / "a.tiff", tissue_pixels(900, 1), 0.5)
    write_slide(folder / "b.tiff", tissue_pixels(900, 2), 0.5, levels=2)
    return folder


@pytest.mark.usefixtures("mean_encoder")
def test_stores_and_outcomes_equal_those_of_one_process(
    slides: Path, tmp_path: Path, write_slide: Draw, real: Callable[[str], Path]
) -> None:
    write_slide(slides / "no-mpp.tiff", np.zeros((300, 300, 3), np.uint8), None)
    write_slide(slides / "small.tiff", np.zeros((30, 30, 3), np.uint8), 0.5)
    (slides / "text.svs").write_text("no slide")
    for name in (
        "malformed/svs_mutants/tile_jpeg_garbage.svs",
        "radiology/TotalSegmentator/example_ct_sm.nii.gz",
    ):
        (slides / Path(name).name).symlink_to(real(name))
    alone = run(slides, tmp_path / "alone", readers=0)
    assert Counter(o.code for o in alone.outcomes if o.code) == {
        "MPP_MISSING": 1,
        "TOO_SMALL": 1,
        "UNREADABLE": 1,
        "UNSUPPORTED_FORMAT": 1,
    }
    assert endings(run(slides, tmp_path / "apart", readers=3)) == endings(alone)
    assert tree(tmp_path / "apart/embeddings") == tree(tmp_path / "alone/embeddings")


@pytest.mark.usefixtures("mean_encoder")
def test_each_misbehaving_slide_costs_itself_only(
    tmp_path: Path, write_slide: Draw, tissue_pixels: Draw, hostile: Any
) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    expected = {
        "a-good": "",
        "bomb": "LIMIT",
        "bomb-open": "LIMIT",
        "crash": "DECODER_CRASH",
        "crash-open": "DECODER_CRASH",
        "defect": "INTERNAL",
        "m-good": "",
        "stall": "LIMIT",
        "z-good": "",
    }
    for seed, name in enumerate(expected):
        write_slide(slides / f"{name}.tiff", tissue_pixels(900, seed), 0.5)
    summary = run(slides, tmp_path / "run", hostile.open_hostile, timeout=3, memory_gb=2)
    assert {o.slide_id: o.code for o in summary.outcomes} == expected
    told = {o.slide_id: (o.cause, o.fix) for o in summary.outcomes}
    assert "SIGABRT" in told["crash"][0]
    assert "--timeout" in told["stall"][1]
    assert "--reader-memory" in told["bomb"][1]
    assert told["defect"][0].startswith("RuntimeError in hostile.py, line ")
    run(slides, tmp_path / "alone", readers=0)
    done = tree(tmp_path / "run/embeddings")
    assert {Path(name).parts[0] for name in done} == {"a-good.zarr", "m-good.zarr", "z-good.zarr"}
    alone = tree(tmp_path / "alone/embeddings")
    assert done == {name: data for name, data in alone.items() if name in done}


@pytest.mark.usefixtures("mean_encoder")
def test_a_slide_left_early_disturbs_none_behind_it(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(slides, tmp_path / "alone", readers=0)
    append = StoreWriter.append

    def broken(self: StoreWriter, *given: Any) -> None:
        if "a.zarr" in str(self._place):
            raise RuntimeError("an encoder's defect")
        append(self, *given)

    monkeypatch.setattr(StoreWriter, "append", broken)
    summary = run(slides, tmp_path / "run", readers=1)
    assert [(o.slide_id, o.code) for o in summary.outcomes] == [("a", "INTERNAL"), ("b", "")]
    assert tree(tmp_path / "run/embeddings/b.zarr") == tree(tmp_path / "alone/embeddings/b.zarr")


@pytest.mark.usefixtures("mean_encoder")
def test_ctrl_c_while_a_store_is_finished_is_heard_after_it(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = StoreWriter._write

    def interrupted(self: StoreWriter, *given: Any) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return write(self, *given)

    monkeypatch.setattr(StoreWriter, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(slides, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run/embeddings").iterdir()] == ["a.zarr"]
    assert verify_store(tmp_path / "run/embeddings/a.zarr") == []


@pytest.mark.usefixtures("mean_encoder")
def test_the_next_slide_is_read_ahead_but_not_beyond_the_ring(
    slides: Path, tmp_path: Path, hostile: Any
) -> None:
    most = Reading(64, workers=2).batches + 1

    def batches_read(name: str) -> int:
        log = slides / f"{name}.reads"
        return len(log.read_text().splitlines()) if log.exists() else 0

    class Slow(Silent):
        def patches(self, slide_id: str, done: int, total: int) -> None:
            if slide_id == "a" and done == 4:
                deadline = time.monotonic() + 20
                while batches_read("b") < most and time.monotonic() < deadline:
                    time.sleep(0.05)
                time.sleep(0.5)
                assert total > 4 * (most + 2)
                assert batches_read("b") == most
                assert batches_read("a") == most

    assert run(slides, tmp_path / "run", hostile.open_hostile, Slow()).failures == []


@pytest.mark.usefixtures("mean_encoder")
def test_where_processes_have_no_children_one_process_does(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    assert [o.status for o in run(slides, tmp_path / "run").outcomes] == ["done", "done"]


@pytest.mark.usefixtures("mean_encoder")
def test_a_reader_that_cannot_start_is_no_slides_fault(slides: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="reader process does not start"):
        run(slides, tmp_path / "run", memory_gb=0.001)


def test_readers_load_neither_an_encoder_nor_the_main_script(slides: Path, tmp_path: Path) -> None:
    """The script lacks the usual guard, so that it would run again in every process that loads it."""
    script = tmp_path / "script.py"
    script.write_text("import zarr\n" + ENDLESS)
    command = [sys.executable, str(script), str(slides), str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=WITH_HOSTILE)
    assert not ended.stderr
    assert len(list((tmp_path / "run/embeddings").iterdir())) == 2
    loaded = [p.read_text() for p in slides.glob("*.modules")]
    assert loaded == ["openslide"] * 2


ENDLESS = """
import multiprocessing, sys
from pathlib import Path
import hostile
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import find_inputs
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.tiling.spec import PatchSpec

class Told:
    def planned(self, step): ...
    def begins(self, jobs): ...
    def finished(self, outcome): ...
    def patches(self, slide_id, done, total):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)

inputs, means = find_inputs([Path(sys.argv[1])]).inputs, Execution(batch_size=4)
config = RunConfig("null", PatchSpec(64, 1.0, min_tissue=0.0))
run_cohort(RunOrder(inputs, config, Path(sys.argv[2]), means, opener=hostile.open_hostile), Told())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_when_the_run_is_stopped_its_readers_are_gone(
    tmp_path: Path, write_slide: Draw, tissue_pixels: Draw, number: signal.Signals
) -> None:
    """Stopped while both readers hang in a read; Ctrl-C reaches every process, as in a terminal."""
    for seed, name in enumerate(("stall-a", "stall-b")):
        write_slide(tmp_path / f"{name}.tiff", tissue_pixels(900, seed), 0.5)
    run_folder = tmp_path / "run"
    victim = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path), str(run_folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=WITH_HOSTILE,
    )
    assert victim.stdout is not None
    readers = [int(pid) for pid in victim.stdout.readline().split()]
    assert len(readers) == 2
    assert all(map(is_alive, readers))
    (os.kill if number == signal.SIGKILL else os.killpg)(victim.pid, number)
    _, said = victim.communicate(timeout=20)  # its end closes stderr only if the readers ended too
    assert "tracker" not in said
    assert said.count("Traceback") == (number == signal.SIGINT)
    assert not any(map(is_alive, readers))
    assert list_stores(run_folder) == []
