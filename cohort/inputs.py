"""Which slides and volumes a user means by folders, files and manifests, and what to call them."""

from __future__ import annotations

import csv
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


@dataclass(frozen=True)
class _Candidate:
    path: Path
    root: Path
    kind: str
    name: str = ""
    mpp: float | None = None


def find_inputs(arguments: Sequence[Path], slide_mpp: float | None = None) -> Found:
    """Every input under the given folders, files and manifests (.csv), sorted by id.

    Pictures (PNG, JPEG) in a folder are taken only when `slide_mpp` says how large their pixels are;
    otherwise they are most likely something else, and are listed as ignored.

    Raises:
        UsageError: an argument does not exist, a manifest is malformed, or nothing was found.
    """
    candidates: list[_Candidate] = []
    ignored: list[Path] = []
    for argument in arguments:
        if url_of(argument):
            candidates.append(_Candidate(argument, Path(argument.parts[0]), "slide"))
            continue
        if not argument.exists():
            raise UsageError(f"There is no {argument}.", "Give slide files, folders or a manifest CSV.")
        if argument.suffix.lower() == ".csv":
            candidates += _from_manifest(argument)
        elif argument.is_dir():
            taken, passed_over = _from_folder(argument, with_pictures=slide_mpp is not None)
            candidates += taken
            ignored += passed_over
        else:
            candidates += _from_files([argument], argument.parent)
    candidates = [replace(c, mpp=c.mpp or (slide_mpp if c.kind == "slide" else None)) for c in candidates]
    if not candidates:
        raise UsageError(
            f"No slide or volume was found under {', '.join(map(str, arguments))} "
            f"({len(ignored)} other files).",
            "Pictures need --slide-mpp. See `slidestream info --help` for what can be read.",
        )
    return Found(_named(_distinct(candidates)), ignored)


def _from_folder(folder: Path, with_pictures: bool) -> tuple[list[_Candidate], list[Path]]:
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


def _from_files(files: Iterable[Path], root: Path) -> list[_Candidate]:
    candidates, dicom = [], []
    for path in files:
        suffix = path.suffix.lower()
        if path.name.lower().endswith(VOLUME_SUFFIXES):
            candidates.append(_Candidate(path, root, "volume"))
        elif suffix not in SLIDE_SUFFIXES and is_dicom(path):
            dicom.append(path)
        else:
            candidates.append(_Candidate(path, root, "slide"))
    return candidates + [
        _Candidate(series.path, root, series.kind, series.name) for series in group_dicom(dicom)
    ]


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, sorted; links are followed, each folder once, so that a loop of links ends."""
    seen: set[tuple[int, int]] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        state = Path(where).stat()
        key = (state.st_dev, state.st_ino)
        if key in seen and os.name != "nt":
            folders.clear()
            continue
        seen.add(key)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(files) if not name.startswith("."))


def _from_manifest(manifest: Path) -> list[_Candidate]:
    """Rows of a CSV with a column `path` (relative to the manifest) and optionally `slide_id`, `mpp`."""
    with open(manifest, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if "path" not in (reader.fieldnames or []):
            raise UsageError(
                f"{manifest} has no column 'path' (it has: {', '.join(reader.fieldnames or [])}).",
                "A manifest needs a column path; slide_id and mpp are optional.",
            )
        rows = list(reader)
    candidates = []
    for number, row in enumerate(rows, start=2):
        path = _place((row["path"] or "").strip(), manifest)
        if not (row["path"] or "").strip():
            raise UsageError(f"{manifest}, line {number}: the path is empty.")
        kind = _from_files([path], manifest.parent)[0].kind if path.is_file() else "slide"
        if path.is_dir():
            kind = kind_of_folder(path)
        name = (row.get("slide_id") or "").strip()
        root = Path(path.parts[0]) if url_of(path) else manifest.parent
        candidates.append(_Candidate(path, root, kind, name, _mpp(row.get("mpp"), manifest, number)))
    return candidates


def _place(text: str, manifest: Path) -> Path:
    """A path is relative to the manifest, a URL to nothing."""
    return Path(text) if url_of(text) else manifest.parent / text


def _mpp(text: str | None, manifest: Path, number: int) -> float | None:
    if not (text or "").strip():
        return None
    try:
        return float(str(text))
    except ValueError as error:
        raise UsageError(f"{manifest}, line {number}: mpp {text!r} is not a number.") from error


def _distinct(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """Each file once, however often and by whatever link it was named."""
    first: dict[Path, _Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.path.resolve(), candidate)
    return list(first.values())


def _named(candidates: list[_Candidate]) -> list[Input]:
    """Ids: the manifest's, else the file's stem where unique, else the relative path with its suffix."""
    stems = [printable(c.name or _stem(c.path)) for c in candidates]
    count = Counter(stems)
    names = [
        stem if count[stem] == 1 or c.name else printable(_shown(c.path).relative_to(c.root).as_posix())
        for stem, c in zip(stems, candidates, strict=True)
    ]
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


def _stem(path: Path) -> str:
    path = _shown(path)
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def _shown(path: Path) -> Path:
    """Without what follows a question mark in a URL: it may be a key."""
    return Path(str(path).partition("?")[0]) if url_of(path) else path


def printable(text: str) -> str:
    """A name as valid Unicode: bytes of a file name that are not UTF-8 become backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
