"""Resampling gives Pillow's bytes, whether or not the loop was compiled."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from slidestream.geometry import Region
from slidestream.wsi import open_slide, resample

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]

needs_compiler = pytest.mark.skipif(not resample.COMPILED, reason="the compiled loop was not built")


def by_pillow(pixels: Pixels, box: Box, out: tuple[int, int]) -> Pixels:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(out, Image.Resampling.BICUBIC, box=box))


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, float, float, int]:
    """px of the source, both edges of a box on it, px of the result: from a 40th to 16 px for one."""
    out = draw(st.integers(1, 40))
    extent = draw(st.one_of(st.floats(0.5, 16.0), st.sampled_from([0.5, 1.0, 1.5, 2.0, 16.0]))) * out
    before, after = (draw(st.one_of(st.just(0.0), st.floats(0, 9))) for _ in "<>")
    length = max(int(np.ceil(before + extent + after)), 1)
    start = min(before, length - extent)
    whole = draw(st.booleans())
    start, end = (
        (round(start), max(round(start + extent), round(start) + 1)) if whole else (start, start + extent)
    )
    return max(length, int(end)), start, min(end, max(length, int(end))), out


def noise(height: int, width: int, seed: int) -> Pixels:
    """Grey values of all kinds, or of extremes only, whose sums overshoot most."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return values if seed % 2 else np.where(values < 128, 0, 255).astype(np.uint8)


VIEWS: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda p: p,
    "within a larger one": lambda p: np.pad(p, ((2, 3), (1, 2), (0, 0)))[2:-3, 1:-2],
    "upside down": lambda p: p[::-1].copy()[::-1],
    "mirrored": lambda p: p[:, ::-1].copy()[:, ::-1],
    "of colours reversed": lambda p: p[..., ::-1].copy()[..., ::-1],
    "every second px": lambda p: p.repeat(2, axis=1)[:, ::2],
    "of RGBA": lambda p: np.pad(p, ((0, 0), (0, 0), (0, 1)))[..., :3],
    "transposed": lambda p: p.transpose(1, 0, 2).copy().transpose(1, 0, 2),
}


@needs_compiler
@settings(max_examples=300)
@given(axes(), axes(), st.integers(0, 99), st.sampled_from(list(VIEWS)), st.sampled_from(list(VIEWS)))
@example((1, 0.0, 1.0, 1), (1, 0.0, 1.0, 1), 1, "as it is", "as it is")
@example((1, 0.25, 0.5, 40), (1, 0.0, 1.0, 7), 1, "as it is", "as it is")
@example((319, 3.3, 310.5, 224), (320, 4.7, 311.9, 224), 0, "as it is", "as it is")
def test_every_byte_is_pillows(
    x: tuple[int, float, float, int], y: tuple[int, float, float, int], seed: int, view: str, target: str
) -> None:
    pixels = noise(y[0], x[0], seed)
    box, size = (x[1], y[1], x[2], y[2]), (x[3], y[3])
    expected = by_pillow(pixels, box, size)
    np.testing.assert_array_equal(resample.resize(VIEWS[view](pixels), box, size), expected)
    out = VIEWS[target](np.zeros_like(expected))
    assert resample.resize(VIEWS[view](pixels), box, size, out) is out
    np.testing.assert_array_equal(out, expected)


@needs_compiler
@pytest.mark.parametrize("value", [0, 1, 254, 255])
@pytest.mark.parametrize("extent", [5.0, 112.0, 223.9, 307.2, 614.4, 900.3])
def test_a_constant_stays_what_pillow_makes_of_it(value: int, extent: float) -> None:
    pixels = np.full((910, 910, 3), value, np.uint8)
    box = (3.7, 3.1, 3.7 + extent, 3.1 + extent)
    expected = by_pillow(pixels, box, (224, 224))
    np.testing.assert_array_equal(resample.resize(pixels, box, (224, 224)), expected)


@needs_compiler
@pytest.mark.parametrize("side", [232.3, 307.2, 448.0, 560.5, 1130.7])
def test_real_tissue_is_pillows_byte_for_byte(real: Callable[[str], Path], side: float) -> None:
    with open_slide(real("wsi/P-2_carotid_zoomify.tiff"), mpp=0.729) as slide:
        around = slide.size[0] // 2 - 600, slide.size[1] // 2 - 600
        pixels = slide.read(Region(around, (1200, 1200)), (1200, 1200))
    assert pixels.std() > 5
    box = (9.37, 11.81, 9.37 + side, 11.81 + side)
    expected = by_pillow(pixels, box, (224, 224))
    np.testing.assert_array_equal(resample.resize(pixels, box, (224, 224)), expected)


@needs_compiler
def test_patches_are_the_same_compiled_or_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_slide: Callable, tissue_pixels: Callable
) -> None:
    pixels = tissue_pixels(700)
    regions = [Region((x, y), (307.2, 307.2)) for x in (0.0, 100.7, 392.8) for y in (0.0, 211.3)]
    found = []
    with open_slide(write_slide(tmp_path / "a.tif", pixels, 0.729)) as slide:
        for compiled in (True, False):
            monkeypatch.setattr(resample, "COMPILED", compiled)
            found.append(np.zeros((len(regions), 224, 224, 3), np.uint8))
            assert not slide.read_patches(regions, found[-1]).any()
    np.testing.assert_array_equal(*found)
    for region, patch in zip(regions, found[0], strict=True):
        expected = by_pillow(pixels, (*region.origin, *region.end), (224, 224))
        assert abs(patch - expected.astype(int)).mean() < 0.01  # a box elsewhere rounds otherwise


@needs_compiler
def test_pillow_has_no_pixels_to_resample_once_the_taps_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, box = noise(320, 319, 1), (3.3, 4.7, 310.5, 311.9)
    first = resample.resize(pixels, box, (224, 224))
    monkeypatch.setattr(resample, "Image", None)
    np.testing.assert_array_equal(resample.resize(pixels, box, (224, 224)), first)


@pytest.mark.parametrize(
    ("height", "width"), [(440, 240), (441, 240), (300, 100), (225, 224), (224, 100), (700, 462)]
)
def test_whichever_axis_pillow_begins_with_its_bytes_are_ours(height: int, width: int) -> None:
    pixels, box = noise(height, width, 0), (0.0, 0.0, float(width), float(height))
    expected = by_pillow(pixels, box, (224, 224))
    np.testing.assert_array_equal(resample.resize(pixels, box, (224, 224)), expected)


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_compiler), False])
def test_what_can_not_be_resized_is_refused(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "COMPILED", compiled)
    pixels = noise(20, 30, 1)
    for box in [(0, 0, 31, 20), (0, 0, 30, 21), (-1, 0, 30, 20), (0, 9, 30, 8)]:
        with pytest.raises(ValueError, match=r"[Bb]ox"):
            resample.resize(pixels, box, (10, 10))
    with pytest.raises(ValueError, match="> 0"):
        resample.resize(pixels, (0, 0, 30, 20), (0, 10))
    with pytest.raises(ValueError, match="out is"):
        resample.resize(pixels, (0, 0, 30, 20), (10, 10), np.zeros((10, 11, 3), np.uint8))


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_compiler), False])
def test_one_channel_is_resized_too(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "COMPILED", compiled)
    grey, box = noise(40, 50, 1)[..., 0], (1.5, 2.5, 40.25, 37.0)
    np.testing.assert_array_equal(resample.resize(grey, box, (17, 19)), by_pillow(grey, box, (17, 19)))


def test_without_the_compiled_loop_pillow_serves() -> None:
    code = """if True:
        import sys
        sys.modules["slidestream.wsi._cubic"] = None
        import numpy as np
        from slidestream.wsi import resample
        pixels = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
        out = np.zeros((7, 9, 3), np.uint8)
        resample.resize(pixels, (1.5, 2.5, 33.3, 27.1), (9, 7), out)
        print(resample.COMPILED, out.tobytes().hex())
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    pixels = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    expected = by_pillow(pixels, (1.5, 2.5, 33.3, 27.1), (9, 7))
    assert said.split() == ["False", expected.tobytes().hex()]


@needs_compiler
def test_threads_do_not_disturb_each_other() -> None:
    pictures = [noise(320 - 7 * i, 330 - 5 * i, i) for i in range(8)]
    box, size = (1.3, 2.7, 250.9, 249.3), (224, 200)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: resample.resize(p, box, size), pictures * 4))
    for picture, result in zip(pictures * 4, found, strict=True):
        np.testing.assert_array_equal(result, by_pillow(picture, box, size))


def one_axis(pixels: NDArray[np.int64], taps: NDArray[np.int32]) -> NDArray[np.int64]:
    """The first axis resampled, in 32 bits that wrap."""
    rows = [np.tensordot(row[1:].astype(np.int64), pixels[row[0] : row[0] + len(row) - 1], 1) for row in taps]
    wrapped = (np.stack(rows) + (1 << 21)).astype(np.uint64).astype(np.uint32).view(np.int32)
    return np.clip(wrapped >> 22, 0, 255).astype(np.int64)


@st.composite
def any_taps(draw: st.DrawFn, length: int) -> NDArray[np.int32]:
    """Starts in order, with gaps and repetitions; weights of any size."""
    n = draw(st.integers(1, min(length, 9)))
    starts = sorted(draw(st.lists(st.integers(0, length - n), min_size=1, max_size=70)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    most = draw(st.sampled_from([1 << 20, 1 << 31]))
    weights = rng.integers(-most, most, (len(starts), n))
    return np.column_stack([starts, weights]).astype(np.int32)


@needs_compiler
@settings(max_examples=150)
@given(st.data(), st.integers(1, 300), st.integers(1, 60))
def test_the_loop_does_what_its_taps_say(data: st.DataObject, height: int, width: int) -> None:
    x, y, pixels = data.draw(any_taps(width)), data.draw(any_taps(height)), noise(height, width, 1)
    result = np.zeros((len(y), len(x), 3), np.uint8)
    resample._cubic.resample(pixels, x, y, result)
    rows = one_axis(pixels.transpose(1, 0, 2).astype(np.int64), x).transpose(1, 0, 2)
    np.testing.assert_array_equal(result, one_axis(rows, y))


def good() -> list[NDArray]:
    return [
        noise(8, 6, 1),
        resample.taps(6, 0.5, 5.0, 4),
        resample.taps(8, 0.0, 7.5, 5),
        np.zeros((5, 4, 3), np.uint8),
    ]


def read_only(array: NDArray) -> NDArray:
    array.flags.writeable = False
    return array


WRONG: dict[str, tuple[int, Callable[[NDArray], object]]] = {
    "source of four channels": (0, lambda a: np.zeros((8, 6, 4), np.uint8)),
    "source of int8": (0, lambda a: a.view(np.int8)),
    "source of 16 bits": (0, lambda a: a.astype(np.uint16)),
    "source of one channel": (0, lambda a: a[..., 0]),
    "source of scattered px": (0, lambda a: a.repeat(2, axis=1)[:, ::2]),
    "empty source": (0, lambda a: a[:0]),
    "narrow source": (0, lambda a: a[:, :4]),
    "low source": (0, lambda a: a[:6]),
    "source that is no array": (0, lambda a: None),
    "taps of int64": (1, lambda a: a.astype(np.int64)),
    "taps of float32": (1, lambda a: a.astype(np.float32)),
    "taps of the other byte order": (1, lambda a: a.astype(a.dtype.newbyteorder())),
    "taps without weights": (1, lambda a: a[:, :1].copy()),
    "taps for fewer px": (2, lambda a: a[1:]),
    "taps on end": (2, lambda a: a.T.copy()),
    "taps in other strides": (2, np.asfortranarray),
    "taps that go backwards": (2, lambda a: a[::-1].copy()),
    "taps before the start": (1, lambda a: a - np.eye(*a.shape, dtype=np.int32)),
    "taps beyond the end": (2, lambda a: a + 8),
    "read-only result": (3, read_only),
    "result of another height": (3, lambda a: np.zeros((6, 4, 3), np.uint8)),
    "empty result": (3, lambda a: a[:, :0]),
}


@needs_compiler
@pytest.mark.parametrize("wrong", WRONG)
def test_the_loop_refuses_what_does_not_fit_and_writes_nothing(wrong: str) -> None:
    arguments: list = good()
    resample._cubic.resample(*arguments)
    arguments[3][:] = 7
    place, spoil = WRONG[wrong]
    result, arguments[place] = arguments[3], spoil(arguments[place])
    with pytest.raises((ValueError, TypeError, BufferError)):
        resample._cubic.resample(*arguments)
    assert (result == 7).all()


@needs_compiler
def test_a_refusal_lets_go_of_every_buffer() -> None:
    arguments: list = good()
    held = arguments[3] = bytearray(12)
    with pytest.raises(ValueError, match="picture"):
        resample._cubic.resample(*arguments)
    held.append(0)  # Python refuses it while anyone holds the bytes
