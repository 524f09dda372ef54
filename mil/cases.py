"""Where the bags of a training run come from, in a form that another process can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .cache import BagCache, LoadBag
from .covariates import with_covariates
from .patients import load_pooled
from .source import bag_source


@dataclass(frozen=True)
class Cases:
    """Bags of one or several slides each.

    Attributes:
        folder: of stores or npz files.
        members: the slides of every bag.
        covariates: (K,) of every bag; none where heads take none.
    """

    folder: Path
    members: Mapping[str, tuple[str, ...]]
    covariates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def of_slides(self, load: LoadBag) -> LoadBag:
        """Loads a case from the bags of its slides."""
        pooled = load_pooled(self.members, load)
        if not self.covariates:
            return pooled
        return lambda bag: with_covariates(pooled(bag), self.covariates[bag])

    def loader(self, max_bytes: int) -> LoadBag:
        """Loads a case from the folder and keeps up to so many bytes."""
        return self.of_slides(BagCache(bag_source(self.folder).load, max_bytes))
