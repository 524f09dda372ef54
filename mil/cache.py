"""Bags are read when needed and kept while they fit: no cohort is ever held whole."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from .bags import Bags

LoadBag = Callable[[str], Bags]


class BagCache:
    """Remembers the bags used last, up to a number of bytes; a larger bag passes through.

    Args:
        load: reads the single bag of a slide.
        max_bytes: what the kept bags may take together.
    """

    def __init__(self, load: LoadBag, max_bytes: int = 2 << 30) -> None:
        self._load = load
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Bags] = OrderedDict()
        self.nbytes = 0

    def __call__(self, slide: str) -> Bags:
        """The single bag of a slide."""
        if slide in self._kept:
            self._kept.move_to_end(slide)
            return self._kept[slide]
        bag = self._load(slide)
        if bag.nbytes <= self._max_bytes:
            self._keep(slide, bag)
        return bag

    def _keep(self, slide: str, bag: Bags) -> None:
        self._kept[slide] = bag
        self.nbytes += bag.nbytes
        while self.nbytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.nbytes -= oldest.nbytes
