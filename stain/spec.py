"""What is asked of stain normalisation, and what was found on one slide."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError
from ..spec import Spec

METHODS = ("macenko", "vahadane", "ruifrok", "reinhard")


@dataclass(frozen=True)
class StainFit(Spec):
    """The colours of one slide, as one method sees them.

    Attributes:
        method: one of `METHODS`.
        stains: rows haematoxylin and eosin: the direction in which each absorbs in R, G and B; empty for
            reinhard.
        strengths: 99th percentile of each stain's concentration, in natural optical density; empty for
            reinhard.
        lab_mean, lab_std: of CIELAB; empty for all but reinhard.
    """

    method: str
    stains: tuple[tuple[float, ...], ...] = ()
    strengths: tuple[float, ...] = ()
    lab_mean: tuple[float, ...] = ()
    lab_std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_method(self.method)
        sizes = [len(row) for row in self.stains], len(self.strengths), len(self.lab_mean), len(self.lab_std)
        wanted = ([], 0, 3, 3) if self.method == "reinhard" else ([3, 3], 2, 0, 0)
        numbers = [*sum(self.stains, ()), *self.strengths, *self.lab_mean, *self.lab_std]
        if sizes != wanted or not all(map(math.isfinite, numbers)):
            raise UsageError(f"These are no parameters of the stain method {self.method}.")
        if min((*self.strengths, *self.lab_std)) <= 0:
            raise UsageError("Strengths and deviations of a stain must be above 0.")


@dataclass(frozen=True)
class StainSpec(Spec):
    """How the slides of a run are normalised.

    Attributes:
        method: one of `METHODS`.
        target: what every slide is made to look like, fitted by the same method.
        allow_unnormalised: encode slides that cannot be normalised as they are, instead of failing them.
    """

    method: str
    target: StainFit
    allow_unnormalised: bool = False

    def __post_init__(self) -> None:
        require_method(self.method)
        if self.target.method != self.method:
            raise UsageError(f"The stain target was fitted by {self.target.method}, not by {self.method}.")


def require_method(name: str) -> None:
    """Raise UsageError if there is no such method."""
    if name not in METHODS:
        raise UsageError(f"There is no stain method {name!r}.", f"Known methods: {', '.join(METHODS)}.")
