"""`doctor`: whether the installation, the machine and the place for results are fit for a run."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import EnvironmentProblem, SlidestreamError
from .options import Json
from .output import show_json, show_table

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
INSTALL = "pip install -c constraints.txt slidestream"
ENOUGH_GB, LEAST_GB = 5.0, 0.2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, PASS, WARN or FAIL, and the fix."""

    name: str
    found: str
    result: str
    fix: str = ""


def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where runs will be written; tested for what a run does.")
    ] = Path(),
    json: Json = False,
) -> None:
    """Check the installation, the folder for results, the devices, and one slide through the whole path."""
    checks = [*_packages(), *_folder(folder)]
    if not any(check.result == FAIL for check in checks):
        checks += [*_machine(), _one_slide()]
    if json:
        show_json({"checks": [asdict(check) for check in checks]})
    else:
        rows = [(check.result, check.name, check.found, check.fix) for check in checks]
        show_table("doctor", ("", "check", "found", "fix"), rows)
    failed = [check.name for check in checks if check.result == FAIL]
    if failed:
        raise EnvironmentProblem(f"Not fit for a run: {', '.join(failed)}.", "See the table.")


def _packages() -> Iterator[Check]:
    yield Check("python", platform.python_version(), PASS)
    for package in ("slidestream", "openslide-python", "tiffslide", "imagecodecs"):
        yield _installed(package, FAIL, INSTALL)
    yield _openslide()
    yield from _codecs()
    yield _installed("nibabel", WARN, "pip install 'slidestream[radiology]' to read NIfTI")
    yield _installed("distributed", WARN, "pip install 'slidestream[dask]' to run on a cluster")
    yield _torch()


def _installed(package: str, otherwise: str, fix: str) -> Check:
    try:
        return Check(package, version(package), PASS)
    except PackageNotFoundError:
        return Check(package, "not installed", otherwise, fix)


def _openslide() -> Check:
    fix = "pip install -U openslide-bin (4.0.1 or later)"
    try:
        import openslide
    except (ImportError, OSError):
        return Check("OpenSlide library", "cannot be loaded", FAIL, fix)
    found = openslide.__library_version__
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:3])
    if numbers < (4, 0, 1):
        return Check("OpenSlide library", found, FAIL, fix)
    return Check("OpenSlide library", found, PASS)


def _codecs() -> Iterator[Check]:
    """Each compression that slides use, there and back on a small picture."""
    fix = "pip install -U imagecodecs simplejpeg, with -c constraints.txt"
    picture = _picture()
    for name, (trip, tolerance) in CODECS.items():
        try:
            error = int(abs(trip(picture).astype(int) - picture).max())
        except Exception as problem:  # noqa: BLE001 - codecs raise errors of their own
            yield Check(name, f"{type(problem).__name__} on a test picture", FAIL, fix)
            continue
        wrong = f"wrong by {error} of 255 on a test picture"
        yield Check(name, wrong, FAIL, fix) if error > tolerance else Check(name, "works", PASS)


def _picture() -> Picture:
    """Smooth ramps, uint8 (64, 64, 3), which a JPEG of high quality keeps to a few grey values."""
    import numpy as np

    down, across = np.mgrid[0:256:4, 0:256:4].astype(np.uint8)
    return np.stack([across, down, across], axis=-1)


def _jpeg(picture: Picture) -> Picture:
    import simplejpeg

    decoded: Picture = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(picture, quality=95))
    return decoded


def _jpeg2000(picture: Picture) -> Picture:
    import imagecodecs

    decoded: Picture = imagecodecs.jpeg2k_decode(imagecodecs.jpeg2k_encode(picture, level=0))
    return decoded


def _lzw(picture: Picture) -> Picture:
    import imagecodecs
    import numpy as np

    data = imagecodecs.lzw_decode(imagecodecs.lzw_encode(picture.tobytes()))
    return np.frombuffer(data, np.uint8).reshape(picture.shape)


CODECS: dict[str, tuple[Callable[[Picture], Picture], int]] = {
    "JPEG": (_jpeg, 16),
    "JPEG 2000": (_jpeg2000, 0),
    "LZW": (_lzw, 0),
}
"""By name: encodes and decodes a picture, and the largest error that is the codec's right."""


def _torch() -> Check:
    """torch, and torchvision where it is installed: of two builds they cannot be imported together."""
    together = "install both with -c constraints.txt"
    try:
        import torch
    except (ImportError, OSError):
        return Check("torch", "cannot be loaded", FAIL, INSTALL)
    try:
        import torchvision
    except ImportError:
        return Check("torch", torch.__version__, PASS)
    except (RuntimeError, AttributeError, OSError):
        return Check("torch", f"{torch.__version__}, torchvision of another build", FAIL, together)
    found = f"{torch.__version__}, torchvision {torchvision.__version__}"
    builds = {text.partition("+")[2] for text in (torch.__version__, torchvision.__version__)}
    return Check("torch", found, PASS) if len(builds) == 1 else Check("torch", found, WARN, together)


def _machine() -> Iterator[Check]:
    import torch

    yield Check("processor", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}", PASS)
    yield _gpu()


def _gpu() -> Check:
    """Whether a device can be computed on, not only seen."""
    import torch

    if not torch.cuda.is_available():
        if torch.version.cuda is None and shutil.which("nvidia-smi"):
            fix = "install torch for CUDA (pytorch.org) to use it, or go on with the processor"
            return Check("GPU", "there is one, but torch was built without CUDA", WARN, fix)
        return Check("GPU", "none found", WARN, "the built-in encoder needs none; large encoders do")
    try:
        ones = torch.ones(64, 64, device="cuda")
        right = bool(((ones @ ones) == 64).all())
    except RuntimeError:
        right = False
    name = torch.cuda.get_device_name()
    if right:
        return Check("GPU", name, PASS)
    fix = "update its driver or torch; until then run with --device cpu"
    return Check("GPU", f"{name}, on which torch cannot compute", FAIL, fix)


def _folder(folder: Path) -> Iterator[Check]:
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".slidestream-doctor-") as scratch:
            yield _durable(Path(scratch))
            yield _locks(Path(scratch))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        yield Check("folder for results", f"{folder}: {reason}", FAIL, "name a folder you may write to")
        return
    yield _space(folder)


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free / 1e9
    result = PASS if free >= ENOUGH_GB else WARN if free >= LEAST_GB else FAIL
    return Check("free space", f"{free:.1f} GB", result, "" if result == PASS else "free some space")


def _durable(scratch: Path) -> Check:
    """Write, fsync, rename a folder into place, replace a file: what committing a store needs."""
    from ..features import disk

    name, fix = "write, fsync, rename", "use a local disk or another mount"
    try:
        disk.write_file(scratch / "beside/file", b"old")
        disk.rename(scratch / "beside", scratch / "place")
        disk.write_file(scratch / "place/new", b"slidestream")
        disk.rename(scratch / "place/new", scratch / "place/file")
        found = (scratch / "place/file").read_bytes()
    except OSError as error:
        return Check(name, error.strerror or "failed", FAIL, fix)
    whole = found == b"slidestream"
    return Check(name, "works", PASS) if whole else Check(name, "read back something else", FAIL, fix)


def _locks(scratch: Path) -> Check:
    """Whether two processes exclude each other from one SQLite file, which some network disks get wrong."""
    elsewhere = "put the run folder on a disk with working file locks"
    path = scratch / "lock.sqlite"
    ours = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        ours.execute("CREATE TABLE t (x)")
        ours.execute("BEGIN EXCLUSIVE")
        while_held = _another_gets(path)
        ours.execute("COMMIT")
        afterwards = _another_gets(path)
    except sqlite3.OperationalError:
        return Check("file locks", "SQLite cannot lock here", FAIL, elsewhere)
    finally:
        ours.close()
    if while_held:
        found = "two writers at once were let in"
        return Check("file locks", found, WARN, f"{elsewhere}, or start one run at a time")
    if not afterwards:
        return Check("file locks", "a lock is not given back", FAIL, elsewhere)
    return Check("file locks", "work", PASS)


def _another_gets(path: Path) -> bool:
    """Whether another process gets the lock: within one, SQLite would not ask the file system."""
    command = [sys.executable, "-c", LOCK, str(path)]
    ended = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own words
    return ended.returncode == 0


LOCK = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN EXCLUSIVE')"


def _one_slide() -> Check:
    """A drawn slide through reading, encoding, storing and verifying."""
    from ..cohort.config import Execution, RunConfig
    from ..cohort.inputs import Input
    from ..cohort.process import FAILED, Job, process
    from ..cohort.synthetic import synthesise
    from ..cohort.synthetic_spec import CohortSpec
    from ..features.layout import store_path
    from ..features.verify import verify_store

    name = "one slide, start to end"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            cohort = synthesise(Path(scratch), CohortSpec(slides=1, side_px=1500))
            slide, run = cohort.slide(cohort.rows[0]), Path(scratch, "run")
            outcome = process(Job(Input("slide", str(slide)), RunConfig(), run, Execution()))
            problems = verify_store(store_path(run, "slide")) if outcome.status != FAILED else []
    except (OSError, SlidestreamError) as error:
        return Check(name, type(error).__name__, FAIL, "look at the other lines first, then report this")
    if outcome.status == FAILED or problems:
        found = outcome.cause or problems[0].what
        return Check(name, found, FAIL, "look at the other lines first, then report this")
    return Check(name, f"{outcome.patches} patches, store verified", PASS)
