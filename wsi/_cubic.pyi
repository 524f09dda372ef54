"""Compiled from `_cubic.c`, where there is a compiler."""

import numpy as np
from numpy.typing import NDArray

def resample(
    source: NDArray[np.uint8],
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    result: NDArray[np.uint8],
    /,
) -> None: ...
