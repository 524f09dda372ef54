"""Which slides and volumes a user means by folders, files and manifests, and what to call them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UsageError
from ..spec import Spec
from ..wsi.dicom_files import is_dicom
from ..wsi.remote_bytes import url_of
from .dicom import group_dicom, kind_of_folder
from .manifest import read_manifest
from .naming import Candidate, distinct_names

_TIFF_SUFFIXES = (".svs", ".tif", ".tiff", ".btf", ".ndpi", ".scn", ".bif", ".svslide", ".qptiff")
SLIDE_SUFFIXES = frozenset([*_TIFF_SUFFIXES, ".mrxs", ".vms", ".vmu", ".czi"])
PICTURE_SUFFIXES = frozenset([".png", ".jpg", ".jpeg"])
VOLUME_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Input(Spec):
    """One slide or volume to process.

    Attributes:
        slide_id: unique within the run.
        path: the file to open; for a DICOM series, one of its files; or a URL.
        kind: "slide" or "volume".
        mpp: the slide's own µm per px from the user, or None to take the file's.
    """

    slide_id: str
    path: str
    kind: str = "slide"
    mpp: float | None = None


@dataclass(frozen=True)
class Found:
    """Inputs in order, and the files that were passed over because nothing here reads them."""

    inputs: list[Input]
    ignored: list[Path]


def find_inputs(arguments: Sequence[Path], slide_mpp: float | None = None) -> Found:
    """Every input under the given folders, files and manifests (.csv), sorted by id.

    Pictures (PNG, JPEG) in a folder are taken only when `slide_mpp` says how large their pixels are;
    otherwise they are most likely something else, and are listed as ignored.

    Raises:
        UsageError: an argument does not exist, a manifest is malformed, or nothing was found.
    """
    candidates: list[Candidate] = []
    ignored: list[Path] = []
    for argument in arguments:
        if url_of(argument):
            candidates.append(Candidate(argument, Path(argument.parts[0]), "slide"))
            continue
        if not argument.exists():
            raise UsageError(f"There is no {argument}.", "Give slide files, folders or a manifest CSV.")
        if argument.suffix.lower() == ".csv" and argument.is_file():
            candidates += _from_manifest(argument)
        elif argument.is_dir():
            taken, passed_over = _from_folder(argument, with_pictures=slide_mpp is not None)
            candidates += taken
            ignored += passed_over
        else:
            candidates += _from_files([argument], argument.parent)
    candidates = [replace(c, mpp=slide_mpp) if c.mpp is None and c.kind == "slide" else c for c in candidates]
    if not candidates:
        raise UsageError(
            f"No slide or volume was found under {', '.join(map(str, arguments))} "
            f"({len(ignored)} other files).",
            "Pictures need --slide-mpp. See `slidestream info --help` for what can be read.",
        )
    return Found(_named(_distinct(candidates)), ignored)


def _from_folder(folder: Path, with_pictures: bool) -> tuple[list[Candidate], list[Path]]:
    files, ignored = [], []
    for path in _walk(folder):
        suffix = path.suffix.lower()
        known = suffix in SLIDE_SUFFIXES or path.name.lower().endswith(VOLUME_SUFFIXES)
        if known or (suffix in PICTURE_SUFFIXES and with_pictures) or _looks_like_dicom(path):
            files.append(path)
        else:
            ignored.append(path)
    return _from_files(files, folder), ignored


def _looks_like_dicom(path: Path) -> bool:
    return path.suffix.lower() not in PICTURE_SUFFIXES and is_dicom(path)


def _from_files(files: Iterable[Path], root: Path) -> list[Candidate]:
    candidates, dicom = [], []
    for path in files:
        suffix = path.suffix.lower()
        if path.name.lower().endswith(VOLUME_SUFFIXES):
            candidates.append(Candidate(path, root, "volume"))
        elif suffix not in SLIDE_SUFFIXES and is_dicom(path):
            dicom.append(path)
        else:
            candidates.append(Candidate(path, root, "slide"))
    return candidates + [
        Candidate(series.path, root, series.kind, series.name) for series in group_dicom(dicom)
    ]


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, sorted; pipes and devices, which may never end, are left out.

    Links are followed, also out of the folder, each folder once: so a loop of links ends.
    """
    seen: set[tuple[int, int]] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        state = Path(where).stat()
        key = (state.st_dev, state.st_ino)
        if key in seen and os.name != "nt":
            folders.clear()
            continue
        seen.add(key)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(where, name) for name in sorted(files) if not name.startswith("."))
        yield from (path for path in paths if path.is_file() or not path.exists())


def _from_manifest(manifest: Path) -> list[Candidate]:
    candidates = []
    for row in read_manifest(manifest):
        found = _from_files([row.path], manifest.parent) if row.path.is_file() else []
        kind = found[0].kind if found else kind_of_folder(row.path) if row.path.is_dir() else "slide"
        root = Path(row.path.parts[0]) if url_of(row.path) else manifest.parent
        candidates.append(Candidate(row.path, root, kind, name=row.slide_id, mpp=row.mpp))
    return candidates


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each file once, however often and by whatever link it was named; but by every name of a manifest."""
    first: dict[tuple[str, str], Candidate] = {}
    for candidate in candidates:
        first.setdefault((os.path.realpath(candidate.path), candidate.name), candidate)
    return list(first.values())


def _named(candidates: list[Candidate]) -> list[Input]:
    """Ids: the manifest's, else the file's stem where unique, else the relative path with its suffix."""
    names = distinct_names(candidates)
    inputs = [
        Input(name, url_of(c.path) or str(c.path), c.kind, c.mpp)
        for name, c in zip(names, candidates, strict=True)
    ]
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise UsageError(
            f"Several inputs would be called {', '.join(repeated)}.",
            "Give them different names in the manifest column slide_id.",
        )
    return sorted(inputs, key=lambda item: item.slide_id)
