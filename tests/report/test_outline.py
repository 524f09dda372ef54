"""The outline encloses the tissue, and patches stand where their coordinates say."""

from __future__ import annotations

from typing import Any

import numpy as np

from slidestream.report.outline import LOST, PATCH, TISSUE, outline


class Fake:
    """A store of a 1,000 x 500 px slide with a 200 x 100 px thumbnail."""

    attributes: dict[str, Any] = {"source": {"size": [1000, 500]}, "extent": [100.0, 100.0]}  # noqa: RUF012

    def thumbnail(self) -> np.ndarray:
        return np.full((100, 200, 3), 240, np.uint8)

    def mask(self) -> np.ndarray:
        mask = np.zeros((100, 200), np.uint8)
        mask[20:60, 30:90] = 1
        return mask

    def coords(self) -> np.ndarray:
        return np.array([[200, 150], [600, 300]], np.int32)

    def status(self) -> np.ndarray:
        return np.array([0, 1], np.uint8)


def test_lines_lie_where_geometry_says() -> None:
    picture = outline(Fake())  # type: ignore[arg-type]
    green = (picture == TISSUE).all(axis=2)
    assert green[19, 30:90].mean() > 0.7
    assert not green[21:59, 31:89].any(), "the tissue itself is not covered"
    blue = np.argwhere((picture == PATCH).all(axis=2))
    assert (blue.min(axis=0) == [30, 40]).all()
    assert (blue.max(axis=0) == [49, 59]).all()
    red = np.argwhere((picture == LOST).all(axis=2))
    assert (red.min(axis=0) == [60, 120]).all()
    assert (red.max(axis=0) == [79, 139]).all()
