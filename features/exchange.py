"""Embeddings of one slide as tools of the field pass them on: what is in a file, and what it does not say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtra, UnsupportedFormat
from ..spec import Spec, json_digest
from ..status import OK
from . import disk
from .store import Store

if TYPE_CHECKING:
    import h5py

RECORD = "slidestream"
"""The attribute in which our own exports keep what their store recorded."""
OF_THE_STORE = ("checksums", "complete", "counts", "metadata_sha256", "unreadable")
"""Attributes that speak of a store's arrays, not of what the embeddings are."""
MOST_EXPANSION = 1100
"""Times that a compressed array can be larger than in its file; deflate reaches 1032."""


@dataclass(frozen=True)
class Facts(Spec):
    """What a file says of its patches; 0 or empty for what it does not say.

    Attributes:
        form: "trident", "clam", "stamp" or "anndata".
        extractor: what it calls the encoder.
        size_px: side of a patch as the encoder sees it.
        extent: side of a patch at level 0, in px, or in µm with `microns`.
        slide_size: of level 0 in px, (x, y).
        slide_mpp: µm per px at level 0, (x, y).
        microns: whether coordinates are in µm instead of level-0 px.
    """

    form: str
    extractor: str = ""
    size_px: int = 0
    extent: float = 0.0
    slide_size: tuple[int, ...] = ()
    slide_mpp: tuple[float, ...] = ()
    microns: bool = False


@dataclass(frozen=True, eq=False)
class Exchanged:
    """The patches of one slide that have an embedding.

    Attributes:
        slide_id: of the slide.
        features: float32 (N, D).
        coords: float64 (N, 2 or 3), top-left corners.
        facts: about them.
        record: the attributes of the store they were exported from, if nothing was changed since; or empty.
    """

    slide_id: str
    features: NDArray[np.float32]
    coords: NDArray[np.float64]
    facts: Facts
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hex sha256 of embeddings and coordinates."""
        parts = [
            hashlib.sha256(np.ascontiguousarray(part).data).hexdigest()
            for part in (self.features, self.coords)
        ]
        return json_digest(parts)


def from_store(store: Store, form: str) -> Exchanged:
    """The patches of a store that have an embedding, in the units of the format."""
    attributes, good = store.attributes, store.status() == OK
    source, spacing = attributes["source"], attributes["source"]["spacing"]
    coords, patch = store.coords()[good].astype(np.float64), attributes["patch"]
    microns = form == "stamp"
    facts = Facts(
        form,
        extractor=attributes["encoder"]["name"],
        size_px=patch["size_px"],
        extent=patch["size_px"] * patch["spacing"] if microns else attributes["extent"][0],
        slide_size=tuple(source["size"]),
        slide_mpp=tuple(spacing),
        microns=microns,
    )
    record = {key: value for key, value in attributes.items() if key not in OF_THE_STORE}
    coords = coords * np.array(spacing) if microns else coords
    return Exchanged(store.slide_id, store.features()[good], coords, facts, record)


def plain_name(text: Any) -> str:
    """A name from a file, if it is one: anything else might tell of a patient."""
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text) else ""


@contextmanager
def new_h5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file that takes the place of `path` when it is whole."""
    h5 = _h5py()
    beside = path.with_name(f".{path.name}.partial")
    with disk.full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with h5.File(beside, "w") as file:
                yield file
            disk.rename(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def opened_h5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to read.

    Raises:
        UnsupportedFormat: it is none, or is damaged.
    """
    h5 = _h5py()
    try:
        with h5.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UnsupportedFormat(
            f"{path.name} is no whole HDF5 file with embeddings.", "Export it again, or leave it out."
        ) from error


def array_of(file: h5py.File, name: str) -> NDArray[Any]:
    """An array that lies in the file itself, whole; not what a link would fetch from elsewhere.

    Raises:
        UnsupportedFormat: there is none, or its numbers are not all in the file.
    """
    h5 = _h5py()
    link = file.get(name, getlink=True) if name in file else None
    if not isinstance(link, h5.HardLink) or not isinstance(file[name], h5.Dataset):
        raise UnsupportedFormat(
            f"It holds no array {name!r}.", "Name a file with embeddings and coordinates."
        )
    data = file[name]
    elsewhere = data.is_virtual or data.external
    if elsewhere or data.nbytes > MOST_EXPANSION * max(data.id.get_storage_size(), 1):
        raise UnsupportedFormat(f"The numbers of {name!r} are not in the file.", "Export it again.")
    found: NDArray[Any] = data[...]
    return found


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra(
            "Reading and writing HDF5 needs h5py.", "pip install 'slidestream[exchange]'"
        ) from error
    return h5py
