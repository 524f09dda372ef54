"""Fixtures every folder of tests shares: the real data, and slides written on the spot."""

from __future__ import annotations

import functools
import gc
import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import settings
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from slidestream.cli.app import main
from slidestream.features.card import EncoderCard
from slidestream.features.encoder import BUILDERS, Encoder

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SLIDESTREAM_TEST_DATA", ROOT / "../shared/data")).resolve()

# No test times anything: machines are shared, and the first example of a property pays for imports.
settings.register_profile("slidestream", deadline=None)
settings.load_profile("slidestream")

# What is computed here is small: threads would cost more than they give, and spin where the machine is busy.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # for what is loaded from now on, and for processes that tests start
torch.set_num_threads(1)
threadpool_limits(1, user_api="blas")  # what is loaded already; scikit-learn brings it


def _sync(handle: int) -> None:
    """In the place of `os.fsync`: the file must be open, but nobody waits for the disk."""
    os.fstat(handle)


class _Unsynced(sqlite3.Connection):
    """Commits that do not wait for the disk either."""

    def execute(self, *given: Any) -> sqlite3.Cursor:
        if not self.__dict__.setdefault("asked", False):
            self.asked = True
            super().execute("PRAGMA synchronous = OFF")
        return super().execute(*given)


# What is written outlives the process that wrote it; the rest only a power cut would show. Processes that
# tests start wait for the disk as always.
os.fsync = _sync
sqlite3.connect = functools.partial(sqlite3.connect, factory=_Unsynced)

# What has been imported stays to the end, a million objects: looking for garbage among them takes seconds.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on garbage is collected, of what is made from here on."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """At the end all of it is garbage: libraries that count what they leave behind would complain."""
    gc.unfreeze()


# Whoever started the tests in the background may have told them to ignore Ctrl-C, which some of them send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

WriteSlide = Callable[..., Path]


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """`real("wsi/x.svs")` is the path of a real test file; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"no {name}: set SLIDESTREAM_TEST_DATA to the folder of real test data")
        return path

    return find


@pytest.fixture(scope="session")
def write_slide() -> WriteSlide:
    """`write_slide(path, pixels, mpp, levels=1, compression=None)` writes a tiled pyramidal TIFF.

    `pixels` is uint8 (H, W, 3); `mpp` one number or (x, y); every further level halves by averaging.
    Without compression a level is lossless, so that a test can compare exact values.
    """

    def write(
        path: Path,
        pixels: NDArray[np.uint8],
        mpp: float | tuple[float, float] | None,
        levels: int = 1,
        compression: str | None = None,
    ) -> Path:
        options: dict[str, object] = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
        if compression:
            options |= {"compression": compression}
        if mpp is not None:
            x, y = (mpp, mpp) if isinstance(mpp, float | int) else mpp
            options |= {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}
        with tifffile.TiffWriter(path) as tiff:
            for level in range(levels):
                tiff.write(pixels, subfiletype=int(level > 0), **options)
                pixels = _halve(pixels)
                options.pop("resolution", None)
                options.pop("resolutionunit", None)
        return path

    return write


def _halve(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    h, w = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    blocks = pixels[:h, :w].reshape(h // 2, 2, w // 2, 2, 3).astype(np.float32)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


@pytest.fixture(scope="session")
def tissue_pixels() -> Callable[..., NDArray[np.uint8]]:
    """`tissue_pixels(side, seed)`: white glass with one textured pink disc, uint8 (side, side, 3)."""

    def draw(side: int, seed: int = 0) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:side, :side]
        inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 < (0.4 * side) ** 2
        texture = rng.integers(-40, 40, (side // 8 + 1, side // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)
        pink = np.array([200, 130, 180]) + texture[:side, :side]
        return np.where(inside[..., None], pink, 244).clip(0, 255).astype(np.uint8)

    return draw


class _MeanColour(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float().mean(dim=(2, 3))


def register_mean(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an encoder whose embedding is a patch's mean colour, known until the patches are undone."""
    card = EncoderCard("mean", "test", "1", "", "none", False, dim=3, input_px=64, patch_px=64)
    monkeypatch.setitem(BUILDERS, "mean", lambda: Encoder(card, _MeanColour()))
    return "mean"


@pytest.fixture
def mean_encoder(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an encoder whose embedding is a patch's mean colour: quick, and known by hand."""
    return register_mean(monkeypatch)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs are opened and read here: processes for it take a second to start, and have their own tests."""
    for module in ("apart", "readers"):
        monkeypatch.setattr(f"slidestream.cohort.{module}.may_have_children", lambda: False)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`cli("run", folder, "-o", run)` runs the command line in this process."""

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        code = call_main(monkeypatch, *arguments)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


def call_main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr("sys.argv", ["slidestream", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
