"""One bad tile costs the patches that touch it, and nothing else."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from slidestream.errors import ReadFailed, Unreadable
from slidestream.geometry import Region
from slidestream.wsi import open_slide

TILE = 240
CLEAN = "wsi/CMU-1-Small-Region.svs"
GARBAGE = "malformed/svs_mutants/tile_jpeg_garbage.svs"
ZERO = "malformed/svs_mutants/tile_zero_length.svs"


def tile_corner(index, width=2220):
    row, column = divmod(index, -(-width // TILE))
    return column * TILE, row * TILE


def differing_tile(clean, broken):
    """Level-0 corner of the one tile whose stored bytes differ."""
    with tifffile.TiffFile(clean) as a, tifffile.TiffFile(broken) as b:
        found = []
        for i, (start, count) in enumerate(
            zip(b.pages[0].dataoffsets, b.pages[0].databytecounts, strict=True)
        ):
            ours = a.filehandle, a.pages[0].dataoffsets[i], a.pages[0].databytecounts[i]
            b.filehandle.seek(start)
            ours[0].seek(ours[1])
            if b.filehandle.read(count) != ours[0].read(ours[2]):
                found.append(i)
    assert len(found) == 1
    return tile_corner(found[0])


def touches(region, corner, margin=0.0):
    return all(
        o < c + TILE + margin and o + e > c - margin
        for o, e, c in zip(region.origin, region.extent, corner, strict=True)
    )


def regions(step=150, extent=200):
    found = [Region((x, y), (extent, extent)) for y in range(0, 2760, step) for x in range(0, 2020, step)]
    random.Random(3).shuffle(found)
    return found


def outcome(slide, region, out):
    try:
        return slide.read_patch(region, out)
    except ReadFailed:
        return "failed"


def test_only_what_touches_a_garbage_tile_fails_under_threads(real):
    bad = differing_tile(real(CLEAN), real(GARBAGE))
    todo = regions()
    with open_slide(real(CLEAN)) as clean, open_slide(real(GARBAGE)) as broken:
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda r: outcome(broken, r, (200, 200)), todo))
        failed = [isinstance(result, str) for result in results]
        assert failed == [touches(region, bad) for region in todo]
        assert 0 < sum(failed) < 15
        for region, result in zip(todo, results, strict=True):
            if not isinstance(result, str):
                np.testing.assert_array_equal(result, clean.read_patch(region, (200, 200)))


def test_resampled_patches_fail_only_within_the_filters_reach(real):
    bad = differing_tile(real(CLEAN), real(GARBAGE))
    with open_slide(real(CLEAN)) as clean, open_slide(real(GARBAGE)) as broken:
        for region in regions(step=170, extent=202.5):
            result = outcome(broken, region, (101, 101))
            if touches(region, bad):
                assert isinstance(result, str)
            elif not touches(region, bad, margin=8):
                np.testing.assert_array_equal(result, clean.read_patch(region, (101, 101)))


def test_good_patches_survive_readers_that_fail_all_the_time(real):
    x, y = differing_tile(real(CLEAN), real(GARBAGE))
    stop = threading.Event()
    with open_slide(real(CLEAN)) as clean, open_slide(real(GARBAGE)) as broken:
        good = Region((10, 10), (300, 300))
        expected = clean.read_patch(good, (300, 300))

        failures = [0, 0]

        def hammer(number):
            while not stop.is_set():
                with pytest.raises(ReadFailed):
                    broken.read_patch(Region((x, y), (50, 50)), (50, 50))
                failures[number] += 1

        with ThreadPoolExecutor(3) as pool:
            hammers = [pool.submit(hammer, number) for number in range(2)]
            try:
                for _ in range(100_000):
                    np.testing.assert_array_equal(broken.read_patch(good, (300, 300)), expected)
                    if min(failures) > 25:
                        break
            finally:
                stop.set()
            for future in hammers:
                future.result()
        assert min(failures) > 25


def test_the_error_says_where_and_nothing_of_the_file(real):
    x, y = differing_tile(real(CLEAN), real(GARBAGE))
    with open_slide(real(GARBAGE)) as broken, pytest.raises(ReadFailed) as error:
        broken.read(Region((x, y), (50, 50)), (50, 50))
    assert str(error.value) == f"READ_FAILED: Level 0, 50 x 50 px at ({x}, {y}) cannot be decoded."


def test_a_tile_of_zero_length_was_not_scanned(real):
    with tifffile.TiffFile(real(ZERO)) as tiff:
        counts = tiff.pages[0].databytecounts
    assert counts.count(0) == 1
    x, y = tile_corner(counts.index(0))
    with open_slide(real(CLEAN)) as clean, open_slide(real(ZERO)) as slide:
        inside = Region((x + 10, y + 10), (200, 200))
        assert slide.read_patch(inside, (200, 200)) is None
        assert slide.read_patch(inside, (90, 90)) is None
        assert (slide.read(inside, (200, 200)) == 255).all()
        half = Region((x - 100, y), (200, 200))
        found, expected = slide.read_patch(half, (200, 200)), clean.read_patch(half, (200, 200))
        np.testing.assert_array_equal(found[:, :100], expected[:, :100])
        assert (found[:, 100:] == 255).all()
        _, scanned = slide.overview(4.0, 4000)
        share = 1 - scanned.mean()
        assert share == pytest.approx(TILE * TILE / (2220 * 2967), rel=0.05)
        rows, columns = np.nonzero(~scanned)
        scale = 2220 / scanned.shape[1]
        assert columns.mean() * scale == pytest.approx(x + TILE / 2, abs=scale)
        assert rows.mean() * scale == pytest.approx(y + TILE / 2, abs=scale)


def test_an_overview_takes_an_unreadable_part_for_its_surroundings(real):
    bad = differing_tile(real(CLEAN), real(GARBAGE))
    with open_slide(real(CLEAN)) as clean, open_slide(real(GARBAGE)) as broken:
        expected, _ = clean.overview(4.0, 4000)
        found, scanned = broken.overview(4.0, 4000)
    assert scanned.all()
    scale = 2220 / found.shape[1]
    differs = np.abs(found.astype(int) - expected).max(axis=2) > 1
    rows, columns = np.nonzero(differs)
    reach = 150 / scale
    assert columns.min() > bad[0] / scale - reach
    assert columns.max() < (bad[0] + TILE) / scale + reach
    assert rows.min() > bad[1] / scale - reach
    assert rows.max() < (bad[1] + TILE) / scale + reach
    inside = found[rows, columns].reshape(-1, 3)
    assert (inside < 200).any(axis=1).mean() > 0.5  # tissue around, so tissue inside, not white


def test_a_slide_without_one_readable_part_is_unreadable(real):
    with open_slide(real("malformed/unreadable.svs")) as slide, pytest.raises(Unreadable):
        slide.thumbnail(100)
