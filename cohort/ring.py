"""Memory that a reader process fills and its parent empties, so that pixels are never sent."""

from __future__ import annotations

from multiprocessing.context import BaseContext

import numpy as np
from numpy.typing import NDArray

from ..errors import EnvironmentProblem


class Ring:
    """A few slots of shared memory, each for one batch.

    The memory has no name: the system frees it with the last process that maps it, however that ends.
    Travels to a process as an argument of it, and no other way.

    Args:
        context: of the processes that will share it.
        slots: how many batches.
        slot_bytes: of the largest batch.

    Raises:
        EnvironmentProblem: the system has no such memory to give.
    """

    def __init__(self, context: BaseContext, slots: int, slot_bytes: int) -> None:
        self.slots = slots
        self._slot_bytes = slot_bytes
        try:
            self._memory = context.RawArray("B", slots * slot_bytes)
        except OSError as error:
            raise EnvironmentProblem(
                f"No memory can be shared with reader processes: {error.strerror}.",
                "Free space in the temporary folder, or read within this process with --readers 0.",
            ) from error

    def batch(self, slot: int, rows: int, side: int) -> NDArray[np.uint8]:
        """A view of one slot as pixels, uint8 (rows, side, side, 3)."""
        size = rows * side * side * 3
        flat = np.frombuffer(self._memory, np.uint8, size, slot * self._slot_bytes)
        return flat.reshape(rows, side, side, 3)

    def whole(self) -> NDArray[np.uint8]:
        """A view of all slots, uint8 (slots * slot_bytes,)."""
        return np.frombuffer(self._memory, np.uint8)
