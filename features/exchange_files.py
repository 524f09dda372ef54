"""Folders of embeddings that other tools wrote: which files hold those of which slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..errors import UnsupportedFormat, UsageError
from ..spec import json_digest
from ..text import printable
from .exchange import Exchanged, opened_h5
from .exchange_anndata import read_anndata
from .exchange_h5 import read_h5, read_tensor

SUFFIXES = (".h5", ".h5ad")


@dataclass(frozen=True)
class Found:
    """A file with embeddings: what its slide is called, and where the coordinates lie if not in itself."""

    slide_id: str
    path: Path
    coords: Path | None = None


def find_files(folder: Path) -> list[Found]:
    """Files with embeddings below a folder, sorted by slide; a .pt only where no other file has them.

    Raises:
        UsageError: there is none, or two are of one slide.
        MissingExtra: h5py is not installed.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    h5 = [path for path in files if path.suffix in SUFFIXES]
    whole = [path for path in h5 if path.suffix == ".h5ad" or _holds_features(path)]
    places = {path.stem: path for path in h5 if path not in whole}
    tensors = [path for path in files if path.suffix == ".pt" and path.stem not in {p.stem for p in whole}]
    items = [Found(printable(path.stem), path) for path in whole]
    items += [Found(printable(path.stem), path, places.get(path.stem)) for path in tensors]
    items.sort(key=lambda item: item.slide_id)
    twice = sorted({a.slide_id for a, b in pairwise(items) if a.slide_id == b.slide_id})
    if not items or twice:
        raise UsageError(
            f"Several files are of {twice[0]}."
            if twice
            else f"There is no .h5, .h5ad or .pt file in {folder}.",
            "Name the folder with the embeddings of one encoder.",
        )
    return items


def label_of(found: Sequence[Found]) -> str:
    """What the embeddings of a folder are called where nobody says: the same folder has the same label."""
    return json_digest([[item.slide_id, item.path.stat().st_size] for item in found])[:16]


def read_found(item: Found) -> Exchanged:
    """The embeddings of one slide.

    Raises:
        UnsupportedFormat: the file is damaged, holds something else, or does not say where patches are.
    """
    if item.path.suffix == ".h5ad":
        return read_anndata(item.path, item.slide_id)
    if item.path.suffix == ".h5":
        return read_h5(item.path, item.slide_id)
    if item.coords is None:
        raise UnsupportedFormat(
            f"{item.path.name} says not where its patches are.",
            "Put the .h5 files with the coordinates of the patches into the same folder.",
        )
    return read_tensor(item.path, item.coords, item.slide_id)


def _holds_features(path: Path) -> bool:
    """Whether a file has embeddings; one that is damaged counts, so that it is not passed over."""
    try:
        with opened_h5(path) as file:
            return "features" in file or "feats" in file or "coords" not in file
    except UnsupportedFormat:
        return True
