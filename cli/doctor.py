"""`doctor`: whether the installation, the machine and the place for results are fit for a run."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from ..errors import EnvironmentProblem
from .options import Json
from .output import show_json, show_table

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
INSTALL = "pip install -c constraints.txt slidestream"
ENOUGH_GB = 5.0


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
    """Check the installation, the devices, the folder for results, and one slide through the whole path."""
    checks = [*_packages(), *_machine(), *_folder(folder), _one_slide()]
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
    for package in ("slidestream", "openslide-python", "tiffslide", "imagecodecs", "zarr"):
        yield _installed(package, FAIL, INSTALL)
    yield _openslide()
    yield _installed("nibabel", WARN, "pip install 'slidestream[radiology]' to read NIfTI")
    yield _installed("distributed", WARN, "pip install 'slidestream[dask]' to run on a cluster")
    yield _torch()


def _installed(package: str, otherwise: str, fix: str) -> Check:
    try:
        return Check(package, version(package), PASS)
    except PackageNotFoundError:
        return Check(package, "not installed", otherwise, fix)


def _openslide() -> Check:
    import openslide

    found = openslide.__library_version__
    if tuple(int(part) for part in found.split(".")[:3]) < (4, 0, 1):
        return Check("OpenSlide library", found, FAIL, "pip install -U openslide-bin (4.0.1 or later)")
    return Check("OpenSlide library", found, PASS)


def _torch() -> Check:
    """torch, and torchvision where it is installed: from two builds they cannot be imported together."""
    import torch

    try:
        import torchvision
    except ImportError:
        return Check("torch", torch.__version__, PASS)
    except (RuntimeError, AttributeError, OSError):
        found = f"{torch.__version__}, torchvision of another build"
        return Check("torch", found, FAIL, "install both with -c constraints.txt")
    return Check("torch", f"{torch.__version__}, torchvision {torchvision.__version__}", PASS)


def _machine() -> Iterator[Check]:
    import torch

    yield Check("processor", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}", PASS)
    if torch.cuda.is_available():
        yield Check("GPU", torch.cuda.get_device_name(), PASS)
    else:
        yield Check("GPU", "none found", WARN, "the built-in encoder needs none; large encoders do")


def _folder(folder: Path) -> Iterator[Check]:
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".slidestream-doctor-") as scratch:
            yield _durable(Path(scratch))
            yield _locks(Path(scratch))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        yield Check("folder for results", f"{folder}: {reason}", FAIL, "name a folder you may write to")
        return
    free = shutil.disk_usage(folder).free / 1e9
    enough = Check("free space", f"{free:.0f} GB", PASS)
    yield enough if free > ENOUGH_GB else Check("free space", f"{free:.1f} GB", WARN, "free some space")


def _durable(scratch: Path) -> Check:
    """Write, fsync, rename a folder into place: what committing a store needs."""
    from ..features import disk

    try:
        disk.write_file(scratch / "beside/file", b"slidestream")
        disk.rename(scratch / "beside", scratch / "place")
        whole = (scratch / "place/file").read_bytes() == b"slidestream"
    except OSError as error:
        fix = "use a local disk or another mount"
        return Check("write, fsync, rename", error.strerror or "failed", FAIL, fix)
    return Check(
        "write, fsync, rename", "works" if whole else "read back something else", PASS if whole else FAIL
    )


def _locks(scratch: Path) -> Check:
    """Whether two connections to one SQLite file exclude each other, which some network disks get wrong."""
    first, second = (sqlite3.connect(scratch / "lock.sqlite", timeout=0) for _ in range(2))
    fix = "put the run folder on a disk with working file locks, and start one run at a time"
    try:
        first.execute("CREATE TABLE t (x)")
        first.execute("BEGIN EXCLUSIVE")
        try:
            second.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return Check("file locks", "work", PASS)
        return Check("file locks", "two writers at once were let in", WARN, fix)
    except sqlite3.OperationalError:
        return Check("file locks", "SQLite cannot lock here", WARN, fix)
    finally:
        first.close()
        second.close()


def _one_slide() -> Check:
    """A drawn slide through reading, encoding, storing and verifying."""
    from ..cohort.config import Execution, RunConfig
    from ..cohort.inputs import Input
    from ..cohort.process import FAILED, Job, process
    from ..cohort.synthetic import synthesise
    from ..cohort.synthetic_spec import CohortSpec
    from ..features.layout import store_path
    from ..features.verify import verify_store

    with tempfile.TemporaryDirectory() as scratch:
        cohort = synthesise(Path(scratch), CohortSpec(slides=1, side_px=1500))
        slide, run = cohort.slide(cohort.rows[0]), Path(scratch, "run")
        outcome = process(Job(Input("slide", str(slide)), RunConfig(), run, Execution()))
        problems = verify_store(store_path(run, "slide")) if outcome.status != FAILED else []
    if outcome.status == FAILED or problems:
        found = outcome.cause or problems[0].what
        return Check("one slide, start to end", found, FAIL, "please report this")
    return Check("one slide, start to end", f"{outcome.patches} patches, store verified", PASS)
