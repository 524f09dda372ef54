"""Which class a slide is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decide(probabilities: NDArray[np.float64], ordered: bool) -> NDArray[np.int64]:
    """(S,) class index of probabilities (S, C): the most probable class or, of ordered grades, the median.

    The median grade is the one with the least expected distance from the truth; it is also the rule of
    CORN's paper: climb while a higher grade is likelier than not.
    """
    if not ordered:
        return np.asarray(probabilities.argmax(1))
    # The last sum is 1 but for rounding, and no grade follows.
    decided: NDArray[np.int64] = (probabilities.cumsum(1)[:, :-1] < 0.5).sum(1)
    return decided
