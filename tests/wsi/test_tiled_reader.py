"""Damage, threads, memory, privacy and what is left to OpenSlide."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openslide
import pytest
import tifffile

from slidestream.errors import ReadFailed
from slidestream.geometry import Region
from slidestream.wsi import byte_source, open_slide, tile_codecs, tile_table, tiled_reader
from slidestream.wsi.openslide_reader import OpenSlideReader
from slidestream.wsi.tile_cache import TileRoom
from slidestream.wsi.tiled_reader import TiledReader

from . import jpeg_slides as js

SIZE = (1100, 900)
TILE = 256


def grid(step, extent, size=SIZE):
    return [
        Region((float(x), float(y)), (float(extent), float(extent)))
        for y in range(0, size[1], step)
        for x in range(0, size[0], step)
    ]


def read(slide, regions, side):
    out = np.empty((len(regions), side, side, 3), np.uint8)
    return out, slide.read_patches(regions, out)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return js.write(tmp_path_factory.mktemp("tiled") / "clean.tiff", js.tissue(SIZE), js.Layout())


def copy(clean, path):
    path.write_bytes(clean.read_bytes())
    return path


def touches(region, tile, margin=0.0):
    corner = (tile % 5 * TILE, tile // 5 * TILE)
    return all(
        o < c + TILE + margin and e > c - margin
        for o, e, c in zip(region.origin, region.end, corner, strict=True)
    )


@pytest.mark.parametrize("content", [b"garbage" * 50, b"\xff\xd8\xff\xd9", b"\0" * 4000])
@pytest.mark.parametrize(
    ("extent", "side", "reach"), [(150, 150, 0), (150, 75, 0), (151, 75, 8), (160, 123, 8)]
)
def test_a_corrupt_tile_costs_exactly_the_patches_on_it(clean, tmp_path, content, extent, side, reach):
    broken = copy(clean, tmp_path / "a.tiff")
    js.overwrite(broken, 7, content)
    regions = grid(120, extent)
    with open_slide(clean) as good, open_slide(broken) as bad:
        expected, fine = read(good, regions, side)
        found, status = read(bad, regions, side)
    assert not fine.any()
    for region, a, b, code in zip(regions, expected, found, status, strict=True):
        if touches(region, 7):
            assert code == 1
        elif not touches(region, 7, reach):
            assert code == 0
        np.testing.assert_array_equal(b, a if code == 0 else 0)


def test_a_scan_that_breaks_off_is_as_bad_as_for_openslide(clean, tmp_path):
    broken = copy(clean, tmp_path / "a.tiff")
    with tifffile.TiffFile(clean) as tiff:
        start, count = tiff.pages[0].dataoffsets[7], tiff.pages[0].databytecounts[7]
    with open(broken, "r+b") as file:
        file.seek(start + count // 2)
        file.write(b"\xff\xd9" + bytes(count - count // 2 - 2))
    with openslide.OpenSlide(broken) as oracle, pytest.raises(openslide.OpenSlideError):
        oracle.read_region((2 * TILE, TILE), 0, (50, 50))
    with open_slide(broken) as slide, pytest.raises(ReadFailed):
        slide.read(Region((2 * TILE, TILE), (50, 50)), (50, 50))


@pytest.mark.parametrize("count", [2**31, 10**9, 3])
def test_an_absurd_length_costs_one_tile_and_no_memory(clean, tmp_path, count):
    broken = copy(clean, tmp_path / "a.tiff")
    with tifffile.TiffFile(clean) as tiff:
        at = tiff.pages[0].tags["TileByteCounts"].valueoffset + 7 * 4
        assert tiff.pages[0].tags["TileByteCounts"].dtype == 4
    with open(broken, "r+b") as file:
        file.seek(at)
        file.write(count.to_bytes(4, "little"))
    tables = tile_table.read_tables(broken, [SIZE])
    with open_slide(clean) as slide:
        reader = TiledReader(slide._reader.facts, byte_source.FileBytes(broken), tables)
    request = tiled_reader.Request
    regions = [(0, 0), (2 * TILE, TILE), (800, 600)]
    boxes = [tiled_reader.LevelBox(0, *corner, 200, 200) for corner in regions]
    requests = [request(box, reader.scanned(box), np.empty((200, 200, 3), np.uint8)) for box in boxes]
    reader.fill(requests)
    assert [request.failed for request in requests] == [False, True, False]


def test_threads_get_the_same_and_decode_each_tile_once(clean, monkeypatch):
    decoded, lock = [], threading.Lock()
    decode = tile_codecs.JpegCodec.decode

    def counted(self, data, scale, out):
        with lock:
            decoded.append((hash(data), scale))
        decode(self, data, scale, out)

    regions = grid(100, 224)
    with open_slide(clean) as slide:
        expected, codes = read(slide, regions, 224)
    monkeypatch.setattr(tile_codecs.JpegCodec, "decode", counted)
    for _ in range(5):
        decoded.clear()
        parts = [slice(i, i + 6) for i in range(0, len(regions), 6)]
        with open_slide(clean) as slide, ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda part: read(slide, regions[part], 224), parts))
        np.testing.assert_array_equal(np.concatenate([pixels for pixels, _ in results]), expected)
        np.testing.assert_array_equal(np.concatenate([status for _, status in results]), codes)
        assert len(decoded) == len(set(decoded)) == 20


def test_threads_on_a_broken_slide_never_wait_for_ever(clean, tmp_path):
    broken = copy(clean, tmp_path / "a.tiff")
    for tile in (3, 7, 8):
        js.overwrite(broken, tile, b"garbage" * 20)
    regions = grid(90, 224)
    with open_slide(broken) as slide:
        expected, codes = read(slide, regions, 224)
    with open_slide(broken) as slide, ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(read, slide, regions[i::8], 224) for i in range(8)]
        for i, future in enumerate(pending):
            pixels, status = future.result(timeout=30)
            np.testing.assert_array_equal(pixels, expected[i::8])
            np.testing.assert_array_equal(status, codes[i::8])


@pytest.mark.parametrize("tiles", [0, 1, 3])
def test_memory_is_bounded_whatever_is_read(clean, monkeypatch, tiles):
    with open_slide(clean) as slide:
        expected, _ = read(slide, grid(100, 224), 224)
    limit = tiles * TILE * TILE * 3
    monkeypatch.setattr(tiled_reader, "CACHE_BYTES", 2 * limit)
    with open_slide(clean) as slide:
        for _ in range(2):
            np.testing.assert_array_equal(read(slide, grid(100, 224), 224)[0], expected)
            for side in (112, 56, 28):
                read(slide, grid(100, 224), side)
            assert slide._reader._cache.room_bytes <= 2 * limit


def test_a_tile_in_use_does_not_give_way():
    room = TileRoom((2, 2), 2)
    for tile in (1, 2):
        slot = room.take()
        slot.pixels[:] = tile
        room.keep(tile, slot)
    held = room.hold(1)
    for tile in (3, 4, 5):
        slot = room.take()
        slot.pixels[:] = tile
        room.keep(tile, slot)
    assert (held.pixels == 1).all()
    assert room.hold(2) is None
    assert (room.hold(5).pixels == 5).all()
    outside = room.take()
    room.keep(6, outside)
    assert room.hold(6) is None


def test_a_batch_may_be_any_memory(clean):
    regions = grid(300, 100)
    with open_slide(clean) as slide:
        expected, _ = read(slide, regions, 100)
        wide = np.zeros((len(regions), 100, 130, 5), np.uint8)
        slide.read_patches(regions, wide[:, :, 20:120, 1:4])
    np.testing.assert_array_equal(wide[:, :, 20:120, 1:4], expected)
    assert not wide[:, :, :20].any()
    assert not wide[..., 4].any()


def test_bytes_are_read_in_file_order_in_few_pieces():
    spans = [(500, 10), (100, 50), (150, 50), (10**6, 7), (10**6 + 7, 9 << 20), (10**8, 1)]
    assert list(byte_source.runs(spans)) == [[1, 2, 0], [3], [4], [5]]
    content = np.random.default_rng(0).bytes(2000)
    asked = []

    class Memory:
        def read(self, offset, count):
            asked.append((offset, count))
            if offset <= 150 < offset + count:
                raise OSError("bad sector")
            return content[offset : offset + count]

        def close(self):
            pass

    found = dict(byte_source.read_spans(Memory(), [(10, 20), (140, 20), (300, 30), (1990, 20)]))
    assert found == {0: content[10:30], 1: None, 2: content[300:330], 3: None}
    assert asked[0] == (10, 2000)


def write_rgb(path, **options):
    shared = {"tile": (256, 256), "photometric": "rgb", "resolution": (2e4, 2e4), "resolutionunit": 3}
    tifffile.imwrite(path, js.tissue(SIZE), metadata=None, **(shared | options))
    return path


@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_lossless_tiles_are_read_here_too(tmp_path, compression, predictor):
    if predictor and compression is None:
        return
    path = write_rgb(tmp_path / "a.tiff", compression=compression, predictor=predictor)
    with open_slide(path) as slide:
        assert isinstance(slide._reader, TiledReader)
        found = slide.read(Region((0, 0), SIZE), SIZE)
        np.testing.assert_array_equal(found, js.tissue(SIZE))
        assert slide.read_patches([Region((3, 5), (448, 448))], np.empty((1, 224, 224, 3), np.uint8)) == 0


CANARY = "CANARY-1950-01-31"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tile": (2064, 2048), "compression": "zlib"}, "tiles of 2048 x 2064 px"),
        ({"compression": "packbits"}, "compression 32773"),
        ({"extrasamples": ["unassalpha"]}, "three interleaved samples"),
    ],
)
def test_what_is_unusual_is_left_to_openslide_and_said(tmp_path, caplog, options, reason):
    path = tmp_path / f"{CANARY}.tiff"
    pixels = js.tissue(SIZE)
    if "extrasamples" in options:
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    shared = {"tile": (256, 256), "photometric": "rgb", "resolution": (2e4, 2e4), "resolutionunit": 3}
    tifffile.imwrite(path, pixels, metadata=None, description=CANARY, **(shared | options))
    caplog.clear()
    with caplog.at_level(logging.DEBUG), open_slide(path) as slide:
        assert isinstance(slide._reader, OpenSlideReader)
        found = slide.read(Region((3, 5), (99, 99)), (99, 99))
    np.testing.assert_array_equal(found, pixels[5:104, 3:102, :3])
    assert "Read by OpenSlide" in caplog.text
    assert reason in caplog.text
    assert CANARY not in caplog.text


def test_other_formats_are_left_to_openslide_and_said(real, caplog):
    with caplog.at_level(logging.DEBUG), open_slide(real("wsi/test3-DAPI-2-(387).ndpi")) as slide:
        assert isinstance(slide._reader, OpenSlideReader)
    assert "format other than plainly tiled TIFF" in caplog.text


def test_only_bytes_of_the_levels_tiles_are_read(real, monkeypatch):
    """The label, the macro and the thumbnail lie in the same file."""
    path = real("wsi/CMU-1-Small-Region.svs")
    spans = []
    read_bytes = byte_source.FileBytes.read

    def recorded(self, offset, count):
        spans.append((offset, offset + count))
        return read_bytes(self, offset, count)

    monkeypatch.setattr(byte_source.FileBytes, "read", recorded)
    with open_slide(path) as slide:
        slide.thumbnail(500)
        slide.overview(2.0, 2000)
        read(slide, grid(500, 224, slide.size), 224)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) > 1
        others = [
            (start, start + count)
            for page in tiff.pages[1:]
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
    assert spans
    assert not any(a < d and c < b for a, b in spans for c, d in others)
