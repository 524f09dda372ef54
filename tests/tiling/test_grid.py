"""Grids in true microns, against geometry worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidestream.errors import TooSmall, UsageError
from slidestream.geometry import Region
from slidestream.tiling.grid import PatchGrid
from slidestream.tiling.spec import PatchSpec


def bounds(*extent: float, origin: tuple[float, ...] | None = None) -> Region:
    return Region(origin or (0.0,) * len(extent), extent)


def test_patches_by_hand() -> None:
    """224 px at 1.0 µm on a slide of 0.5 µm per px are 448 px: 3 of them fit into 1,400 px, 2 into 1,000."""
    grid = PatchGrid.cover(bounds(1400, 1000), (0.5, 0.5), PatchSpec(224, 1.0))
    assert grid.extent == (448.0, 448.0)
    assert grid.origins.tolist() == [[0, 0], [448, 0], [896, 0], [0, 448], [448, 448], [896, 448]]
    assert grid[-1].index == 5
    assert grid[-1].region == Region((896.0, 448.0), (448.0, 448.0))
    assert [patch.index for patch in grid[1:3]] == [1, 2]


@pytest.mark.parametrize("mpp", [0.2, 0.25, 0.263, 0.3, 0.499, 0.729])
def test_field_of_view_and_step_are_physical(mpp: float) -> None:
    """10 mm hold floor(10,000 / 224) = 44 patches whatever the scanner; the last starts at 43 x 224 µm."""
    grid = PatchGrid.cover(bounds(10_000 / mpp, 5_000 / mpp), (mpp, mpp), PatchSpec(224, 1.0))
    assert len(grid) == 44 * 22
    assert abs(grid.extent[0] * mpp - 224) < 1e-9
    last = grid.origins[-1] * mpp
    assert abs(last[0] - 43 * 224) <= mpp
    assert abs(last[1] - 21 * 224) <= mpp


def test_x_and_y_may_differ() -> None:
    grid = PatchGrid.cover(bounds(4000, 4000), (0.25, 0.27), PatchSpec(100, 2.0))
    assert grid.extent == pytest.approx((800.0, 740.7407407))
    assert grid.origins[:, 1].max() == int(740.7407407 * 4)


def test_overlap_padding_and_bounds() -> None:
    half = PatchGrid.cover(bounds(1000, 500), (1, 1), PatchSpec(200, 1.0, overlap=0.5))
    assert sorted(set(half.origins[:, 0].tolist())) == list(range(0, 801, 100))
    padded = PatchGrid.cover(bounds(1000, 500), (1, 1), PatchSpec(300, 1.0, padding=True))
    assert sorted(set(padded.origins[:, 0].tolist())) == [0, 300, 600, 900]
    assert sorted(set(padded.origins[:, 1].tolist())) == [0, 300]
    shifted = PatchGrid.cover(bounds(500, 500, origin=(1000, 70)), (1, 1), PatchSpec(250, 1.0))
    assert shifted.origins.tolist() == [[1000, 70], [1250, 70], [1000, 320], [1250, 320]]


def test_a_slide_of_exactly_one_patch() -> None:
    """0.1 + 0.2 style rounding must not lose the only patch."""
    for mpp in (0.1, 0.3, 0.7, 0.263):
        assert len(PatchGrid.cover(bounds(224 / mpp, 224 / mpp), (mpp, mpp), PatchSpec(224, 1.0))) == 1


def test_too_small_names_the_fix() -> None:
    with pytest.raises(TooSmall, match="224 µm wide, the scanned area only 8 x 8") as caught:
        PatchGrid.cover(bounds(16, 16), (0.5, 0.5), PatchSpec(224, 1.0))
    assert "--patch-size" in caught.value.fix


def test_volumes_are_cut_into_slabs_of_three_slices() -> None:
    grid = PatchGrid.cover(bounds(100, 60, 28), (1000, 1000, 5000), PatchSpec(50, 1000.0))
    assert grid.extent == (50.0, 50.0, 3.0)
    assert sorted(set(grid.origins[:, 2].tolist())) == [*range(0, 25, 3), 25]
    assert grid.origins[:2].tolist() == [[0, 0, 0], [50, 0, 0]]
    assert PatchGrid.cover(bounds(50, 50, 2), (1000,) * 3, PatchSpec(50, 1000.0)).origins.tolist() == [
        [0, 0, 0]
    ]


@given(
    size=st.tuples(st.floats(300, 5e4), st.floats(300, 5e4)),
    mpp=st.floats(0.05, 2),
    overlap=st.floats(0, 0.9),
    px=st.integers(100, 512),
)
def test_patches_lie_inside_and_leave_no_gap(
    size: tuple[float, float], mpp: float, overlap: float, px: int
) -> None:
    spec = PatchSpec(px, 1.0, overlap=overlap)
    area = bounds(*size)
    if min(size) < px / mpp:
        with pytest.raises(TooSmall):
            PatchGrid.cover(area, (mpp, mpp), spec)
        return
    if size[0] * size[1] * mpp**2 / (px * (1 - overlap)) ** 2 > 1e5:
        return
    grid = PatchGrid.cover(area, (mpp, mpp), spec)
    end = grid.origins + np.array(grid.extent)
    assert (grid.origins >= 0).all()
    assert (end <= np.array(size) + 1e-6).all()
    xs = np.unique(grid.origins[:, 0])
    assert (np.diff(xs) <= np.ceil(grid.extent[0])).all()
    assert size[0] - end[:, 0].max() < grid.extent[0] * (1 - overlap) + 1


def test_keep_and_sample() -> None:
    grid = PatchGrid.cover(bounds(1000, 1000), (1, 1), PatchSpec(100, 1.0))
    kept = grid.keep(np.arange(100) % 10 == 3)
    assert len(kept) == 10
    assert set(kept.origins[:, 0].tolist()) == {300}
    some = grid.sample(7, seed=1)
    assert len(some) == 7
    assert len({tuple(o) for o in some.origins.tolist()}) == 7
    assert (np.lexsort((some.origins[:, 0], some.origins[:, 1])) == np.arange(7)).all()


def test_the_spec_refuses_nonsense_and_writes_itself_down() -> None:
    spec = PatchSpec(256, 0.5, overlap=0.25)
    assert PatchSpec.from_dict(spec.to_dict()) == spec
    assert spec.digest() != PatchSpec(256, 0.5).digest()
    with pytest.raises(UsageError, match="overlap"):
        PatchSpec(overlap=1.0)
    with pytest.raises(UsageError, match="Did you mean 'spacing'"):
        PatchSpec.from_dict({"spacin": 1.0})
    with pytest.raises(UsageError, match="not of type int"):
        PatchSpec.from_dict({"size_px": 1.5})
