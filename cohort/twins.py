"""Inputs with the same content: computed once, and copied to the others."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..features.copying import copy_store
from ..features.layout import list_stores, slide_id_of, store_path
from ..features.store import Store, open_store
from ..features.verify import missing_part, verify_store
from ..identity import content_identity
from ..spec import json_digest
from .inputs import Input
from .interrupt import uninterrupted
from .job import Job, Outcome, stored

DEPENDS_ON = ("source", "patch", "encoder", "stain", "tissue", "regions", "rules")
"""The attributes that a store's arrays depend on: with the same ones, they are the same."""


@dataclass(frozen=True)
class Twin:
    """Another slide with the same content, and the digest of all that their arrays depend on."""

    slide_id: str
    content: str


def content_of(attributes: Mapping[str, Any]) -> str:
    """Digest of all that a store's arrays depend on."""
    return json_digest({key: attributes.get(key) for key in DEPENDS_ON})


class Twins:
    """Finds, among inputs and stores, those with the same content.

    Only files of one size are compared, so that most cohorts cost a look at the sizes.

    Args:
        run: the run folder, which need not exist.
        inputs: all of this run.
        damaged: ids of stores that must not be copied.
    """

    def __init__(self, run: Path, inputs: Sequence[Input], damaged: AbstractSet[str]) -> None:
        self._known: dict[str, str] = {}
        new = {item.slide_id for item in inputs if not store_path(run, item.slide_id).exists()}
        self.suspects = _look_alikes(inputs, new)
        if not new:
            return
        known = {store_path(run, item.slide_id) for item in inputs}
        left_over = [store for path in list_stores(run) if path not in known and (store := _whole(path))]
        self.suspects |= _renamed([item for item in inputs if item.slide_id in new], left_over)
        alike = (store_path(run, slide_id) for slide_id in sorted(self.suspects - new - damaged))
        for store in [*left_over, *(store for path in alike if (store := _whole(path)))]:
            if slide_id_of(store.path) not in damaged:
                self._known.setdefault(content_of(store.attributes), slide_id_of(store.path))

    def twin_of(self, slide_id: str, content: str) -> Twin | None:
        """Another slide with this content that has a store, or was asked about before; else None."""
        first = self._known.setdefault(content, slide_id)
        return Twin(first, content) if first != slide_id else None


def _whole(path: Path) -> Store | None:
    with suppress(StoreError):
        return open_store(path) if not missing_part(path) else None
    return None


def _look_alikes(inputs: Iterable[Input], new: AbstractSet[str]) -> set[str]:
    """Ids of files that are equal byte for byte, where at least one of them is new."""
    keys: list[Callable[[Path], object]] = [
        os.path.getsize,
        lambda path: content_identity([path]),
        lambda path: content_identity([path], "full"),
    ]
    groups = [list(inputs)]
    for key in keys:
        groups = [part for group in groups for part in _parted(group, key) if _worth(part, new)]
    return {item.slide_id for group in groups for item in group}


def _parted(group: Iterable[Input], key: Callable[[Path], object]) -> Iterable[list[Input]]:
    parts = defaultdict(list)
    for item in group:
        with suppress(OSError):  # it cannot be read; opening it says why
            parts[key(Path(item.path))].append(item)
    return parts.values()


def _worth(part: Sequence[Input], new: AbstractSet[str]) -> bool:
    return len(part) > 1 and any(item.slide_id in new for item in part)


def _renamed(new: Iterable[Input], left_over: Iterable[Store]) -> set[str]:
    """Ids of new inputs whose file has the content that a store of no input was made from."""
    identities = {store.attributes["source"]["identity"] for store in left_over}
    found = set()
    for item in new if identities else ():
        with suppress(OSError):
            if content_identity([Path(item.path)]) in identities:
                found.add(item.slide_id)
    return found


def copied(job: Job, twin: Twin) -> Outcome | None:
    """Complete an input by the store of its twin; None where that has no whole store of this content.

    Raises:
        DiskFull: there is no room for it.
    """
    start = time.perf_counter()
    original = store_path(job.run, twin.slide_id)
    try:
        store = open_store(original)
    except StoreError:
        return None
    if content_of(store.attributes) != twin.content or verify_store(original):
        return None
    with uninterrupted():
        copy_store(original, store_path(job.run, job.input.slide_id), job.input.slide_id)
    outcome = stored(job.input.slide_id, store.status(), store.coords())
    seconds = round(time.perf_counter() - start, 3)
    return replace(outcome, seconds=seconds, same_as=twin.slide_id)
