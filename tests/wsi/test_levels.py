import pytest

from slidestream.wsi import Level
from slidestream.wsi.levels import choose_level, true_downsample


def levels(*factors):
    return tuple(Level((1000, 1000), (f, f) if isinstance(f, float | int) else f) for f in factors)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((1.0, 1.0), 0),
        ((0.5, 0.5), 0),
        ((3.99, 3.99), 1),
        ((3.5, 3.5), 0),
        ((4.0, 4.0), 1),
        ((4.0, 3.0), 0),
        ((15.0, 15.0), 1),
        ((500.0, 500.0), 2),
    ],
)
def test_the_coarsest_level_at_or_below_the_wanted_spacing(wanted, expected):
    assert choose_level(levels(1, 4, 16), wanted) == expected


def test_both_axes_must_be_fine_enough():
    assert choose_level(levels(1, (2.0, 4.0)), (2.5, 2.5)) == 0
    assert choose_level(levels(1, (2.0, 4.0)), (2.5, 4.1)) == 1


@pytest.mark.parametrize(
    ("full", "reduced", "expected"),
    [
        ((12480, 25581), (97, 199), (128, 128)),  # a real slide, registered: 128
        ((2033, 1525), (254, 190), (8, 8)),
        ((1001, 1001), (501, 501), (2, 2)),  # padded instead of dropped
        ((46000, 32914), (11500, 8228), (4, 4)),
        ((900, 600), (300, 200), (3, 3)),
        ((1000, 1000), (400, 400), (2.5, 2.5)),
        ((1000, 1000), (500, 250), (2.0, 4.0)),
        ((1000, 1000), (1000, 1000), (1, 1)),
        ((1000, 1000), (4000, 4000), (0.25, 0.25)),  # a damaged header
    ],
)
def test_downsamples_undo_the_rounding_of_sizes(full, reduced, expected):
    assert true_downsample(full, reduced) == expected


def test_levels_are_frozen():
    with pytest.raises(AttributeError):
        Level((1, 1), (1.0, 1.0)).size = (2, 2)
