"""Where bags come from: the stores of a run folder, or files of other tools."""

from __future__ import annotations

import hashlib
import zipfile
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..features.card import EncoderCard
from ..features.exchange import Exchanged
from ..features.exchange_files import SUFFIXES, find_files, label_of, read_found
from ..features.imported import Labelled, attributes_of, level0_corners
from ..features.layout import list_stores, slide_id_of
from ..features.store import open_store
from .bags import Bags, bag_from_store
from .contract import EmbeddingContract

FEATURES = ("features", "X")
"""Names that npz files give the embeddings."""

AS_NPZ = "Give features (N, D) of floating numbers; perhaps coords (N, 2 or 3) and bag (N,) of whole numbers."
FAR = 2**31
"""Level-0 px that no slide has."""

OUT = "Leave its line out of the labels, or compute its embeddings again."


class BagSource(ABC):
    """Named single bags, read one at a time."""

    @property
    @abstractmethod
    def slides(self) -> list[str]:
        """The slide_ids, sorted."""

    @abstractmethod
    def count(self, slide: str) -> int:
        """Patches with an embedding."""

    @abstractmethod
    def load(self, slide: str) -> Bags:
        """The single bag of a slide."""

    @abstractmethod
    def contract(self, slide: str) -> EmbeddingContract:
        """What the embeddings mean."""

    @abstractmethod
    def identity(self, slide: str) -> str:
        """Of the content: the same slide under another name has the same."""

    @abstractmethod
    def facts(self, slide: str) -> Any:
        """JSON that changes whenever the bag does."""


class StoreSource(BagSource):
    """The stores of a run folder."""

    def __init__(self, run_dir: Path) -> None:
        self._paths = {slide_id_of(path): path for path in list_stores(run_dir)}

    @property
    def slides(self) -> list[str]:
        return sorted(self._paths)

    def count(self, slide: str) -> int:
        return int((open_store(self._paths[slide]).status() == 0).sum())

    def load(self, slide: str) -> Bags:
        return bag_from_store(open_store(self._paths[slide]))

    def contract(self, slide: str) -> EmbeddingContract:
        return EmbeddingContract.from_attributes(self.facts(slide))

    def identity(self, slide: str) -> str:
        return str(self.facts(slide)["source"]["identity"])

    def facts(self, slide: str) -> Any:
        return open_store(self._paths[slide]).attributes


class NpzSource(BagSource):
    """A folder of npz files, each with `X` or `features` (N, D), and perhaps `coords` (N, 2).

    A file is one bag, named by its stem; or several, where `bag` (N,) numbers the bag of each row: bag 7 of
    musk1.npz is `musk1-7`. Nothing is known of the encoder, so a head of such bags understands no store.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("*.npz"))

    @cached_property
    def _places(self) -> dict[str, tuple[Path, int | None]]:
        """The file of each bag, and its number within, None where it is alone."""
        places: dict[str, tuple[Path, int | None]] = {}
        for path in self._paths:
            for name, bag in _bags_in(path):
                if name in places:
                    raise UsageError(
                        f"{path} and {places[name][0]} both hold bag {name}.", "Rename one of the files."
                    )
                places[name] = path, bag
        return places

    @property
    def slides(self) -> list[str]:
        return sorted(self._places)

    def count(self, slide: str) -> int:
        return len(self._rows(slide)[0])

    def load(self, slide: str) -> Bags:
        features, coords = self._rows(slide)
        if not np.isfinite(features).all():
            raise InputError(f"Bag {slide} has embeddings that are NaN or infinite.", OUT)
        return Bags.single(torch.from_numpy(features), torch.from_numpy(coords))

    def contract(self, slide: str) -> EmbeddingContract:
        dim = self._rows(slide)[0].shape[1]
        return EmbeddingContract("bags", EncoderCard("npz", "", "", "", "", False, dim, 0), 0, 0.0)

    def identity(self, slide: str) -> str:
        digest = hashlib.sha256()
        for rows in self._rows(slide):
            digest.update(np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()

    def facts(self, slide: str) -> Any:
        return self.identity(slide)

    def _rows(self, slide: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
        path, bag = self._places[slide]
        arrays = _read(path, *FEATURES, "coords", "bag")
        features = next((arrays[name] for name in FEATURES if name in arrays), np.empty(0))
        if features.ndim != 2 or features.dtype not in (np.float16, np.float32, np.float64):
            raise UsageError(f"{path} has no array features or X (N, D) of floating numbers.", AS_NPZ)
        coords = arrays.get("coords", np.zeros((len(features), 2)))
        numbers = arrays.get("bag", np.zeros(len(features)))
        if coords.ndim != 2 or coords.shape[1] not in (2, 3) or not _places_on_a_slide(coords):
            raise UsageError(f"{path} has coords that are no corners (N, 2 or 3) in pixels.", AS_NPZ)
        if not len(features) == len(coords) == len(numbers):
            raise UsageError(f"The arrays of {path} differ in length.", AS_NPZ)
        kept = slice(None) if bag is None else numbers == bag
        wanted = np.float32 if features.dtype == np.float64 else features.dtype
        return features[kept].astype(wanted), coords[kept].astype(np.int32)


class H5Source(BagSource):
    """A folder of embeddings by TRIDENT, CLAM or STAMP (HDF5), or AnnData; needs the extra `exchange`.

    They mean what they would once imported: a head of such bags understands the stores that `import` makes
    of the same folder, and no others.
    """

    def __init__(self, folder: Path) -> None:
        found = find_files(folder)
        self._found = {item.slide_id: item for item in found}
        self._label = label_of(found)
        self._last: tuple[str, Exchanged] | None = None

    @property
    def slides(self) -> list[str]:
        return sorted(self._found)

    def count(self, slide: str) -> int:
        return int(_known(self._bag(slide)).sum())

    def load(self, slide: str) -> Bags:
        bag = self._bag(slide)
        known = _known(bag)
        features = bag.features[known]
        if not np.isfinite(features).all():
            raise InputError(f"Bag {slide} has embeddings that are infinite.", OUT)
        corners = level0_corners(bag, self.facts(slide))[known]
        return Bags.single(torch.from_numpy(features), torch.from_numpy(corners))

    def contract(self, slide: str) -> EmbeddingContract:
        return EmbeddingContract.from_attributes(self.facts(slide))

    def identity(self, slide: str) -> str:
        return str(self.facts(slide)["source"]["identity"])

    def facts(self, slide: str) -> Any:
        return attributes_of(self._bag(slide), Labelled(self._label))

    def _bag(self, slide: str) -> Exchanged:
        """The file's content; that of the last one is kept, which is asked for several things in a row."""
        last = self._last
        if last is None or last[0] != slide:
            last = self._last = slide, read_found(self._found[slide])
        return last[1]


def _known(bag: Exchanged) -> NDArray[np.bool_]:
    """Which patches (N,) have an embedding: others write NaN where they have none."""
    return np.asarray(~np.isnan(bag.features).any(axis=1))


def bag_source(folder: Path) -> BagSource:
    """The stores of a run folder, or the files of other tools in a folder that holds some and no stores.

    Raises:
        UsageError: two files are of one slide.
        MissingExtra: reading them needs h5py, which is not installed.
    """
    if (folder / "embeddings").is_dir():
        return StoreSource(folder)
    if any(folder.glob("*.npz")):
        return NpzSource(folder)
    if any(path.suffix in SUFFIXES for path in folder.rglob("*.h5*")):
        return H5Source(folder)
    return StoreSource(folder)


def _bags_in(path: Path) -> list[tuple[str, int | None]]:
    """The names of the bags in an npz file, and their numbers, None of one that is alone."""
    numbers = _read(path, "bag").get("bag")
    if numbers is None:
        return [(path.stem, None)]
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not (numbers % 1 == 0).all():
        raise UsageError(f"{path} has bags that are no whole numbers.", AS_NPZ)
    return [(f"{path.stem}-{bag}", bag) for bag in np.unique(numbers).astype(np.int64).tolist()]


def _places_on_a_slide(coords: NDArray[Any]) -> bool:
    return coords.dtype.kind in "iuf" and bool((np.abs(coords.astype(np.float64)) < FAR).all())


def _read(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """Those of the named arrays that an npz file holds; nothing in it is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read as npz ({type(error).__name__}).", AS_NPZ) from error
