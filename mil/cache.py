"""Bags are read when needed and kept while they fit: no cohort is ever held whole."""

from __future__ import annotations

from collections.abc import Callable

from .bags import Bags

LoadBag = Callable[[str], Bags]


class BagCache:
    """Keeps the bags that come first, up to a number of bytes; the others pass through.

    Every epoch visits every slide once, so a bag that makes room for another is gone when it is due again:
    forgetting the least recently used would often forget them all.

    Args:
        load: reads the single bag of a slide.
        max_bytes: what the kept bags may take together.
    """

    def __init__(self, load: LoadBag, max_bytes: int = 4_000_000_000) -> None:
        self._load = load
        self._max_bytes = max_bytes
        self._kept: dict[str, Bags] = {}
        self.nbytes = 0

    def __call__(self, slide: str) -> Bags:
        """The single bag of a slide."""
        if slide in self._kept:
            return self._kept[slide]
        bag = self._load(slide)
        if self.nbytes + bag.nbytes <= self._max_bytes:
            self._kept[slide] = bag
            self.nbytes += bag.nbytes
        return bag
