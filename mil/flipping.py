"""How faithful an explanation is, by patch flipping: take patches away in its order and see what is left.

The score is the symmetric relevance gain (Blücher, Vielhaben and Strodthoff, 2024,
https://arxiv.org/abs/2401.06654), as used for slides by Hense et al., 2024,
https://arxiv.org/abs/2406.04280, and Jamshidi Idaji et al., 2026, https://arxiv.org/abs/2603.08328.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 20


@dataclass(frozen=True, eq=False)
class Flipping:
    """Two curves over the share of patches that is taken away.

    Attributes:
        removed: (S,) shares from 0 to less than 1.
        least_first: (S,) probability of the predicted class while the least relevant go first.
        most_first: (S,) the same while the most relevant go first.
    """

    removed: NDArray[np.float64]
    least_first: NDArray[np.float64]
    most_first: NDArray[np.float64]

    @property
    def score(self) -> float | None:
        """Area between the curves over the width of the axis, -1 to 1; None of a bag of one patch.

        It is the mean gap in probability. 0 is what a random order has on average; the reverse order has
        the negative.
        """
        if len(self.removed) < 2:
            return None
        area = np.trapezoid(self.least_first - self.most_first, self.removed)
        return float(area / self.removed[-1])


def flip(
    relevance: NDArray[np.float64], probability: Callable[[NDArray[np.int64]], float], steps: int = STEPS
) -> Flipping:
    """Take patches away in both orders, a `steps`-th of them at a time, at least one always left.

    Args:
        relevance: (N,) of each patch for the predicted class. Ties are broken at random, always alike, so
            that an explanation that says nothing gains nothing.
        probability: of the predicted class, of the bag that has these rows only, ascending.
    """
    count = len(relevance)
    order = np.lexsort((np.random.default_rng(0).permutation(count), -relevance))
    removed = np.unique(np.arange(steps) * count // steps)
    most = [probability(np.sort(order[gone:])) for gone in removed.tolist()]
    least = [probability(np.sort(order[: count - gone])) for gone in removed.tolist()]
    return Flipping(removed / count, np.array(least), np.array(most))
