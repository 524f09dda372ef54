"""Headers that promise the moon: refused at once, within bounds of memory, each with the right code."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

from .dicom_scans import Scan, write

FORMAT = {2: "<B", 3: "<H", 4: "<I"}
HUGE, LONG_STRIP = 2**31 - 1, 64 * bytes(1)
TILE = bytes(256 * 256 * 3)
ROW = zlib.compress(bytes(180_000), 9)
SPACE = zlib.compress(bytes(1 << 28), 9)

Tags = dict[int, tuple[int, list[int]]]


def tiff(
    size: tuple[int, int], data: bytes, more: Tags, counts: dict[int, int] | None = None, loop: bool = False
) -> bytes:
    """A classic TIFF of one RGB directory behind `data`, which begins at byte 8.

    `counts` are tags whose stated number of values is a lie; `loop` makes the directory its own successor.
    """
    width, height = size
    tags: Tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [8] * 3), 259: (3, [1]), 262: (3, [2])}
    tags = tags | {277: (3, [3])} | more
    at = 8 + len(data)
    behind, entries, extra = at + 2 + 12 * len(tags) + 4, b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        raw = b"".join(struct.pack(FORMAT[kind], value) for value in values)
        count = (counts or {}).get(tag, len(values))
        place = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", behind + len(extra))
        extra += raw if len(raw) > 4 else b""
        entries += struct.pack("<HHI4s", tag, kind, count, place)
    ending = struct.pack("<I", at if loop else 0)
    return (
        struct.pack("<2sHI", b"II", 42, at) + data + struct.pack("<H", len(tags)) + entries + ending + extra
    )


def strips(rows: int, lengths: list[int]) -> Tags:
    """They all lie at byte 8."""
    return {273: (4, [8] * len(lengths)), 278: (4, [rows]), 279: (4, lengths)}


def tiles(lengths: list[int], side: int = 256) -> Tags:
    """They all lie at byte 8."""
    listed = {324: (4, [8] * len(lengths)), 325: (4, lengths)}
    return {322: (4, [side]), 323: (4, [side])} | listed


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", SPACE[:1000]) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes([1, 34, 0, 2, 17, 1, 3, 17, 1])
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xd9"


FOUR = tiles([len(TILE)] * 4)
BOMBS = {
    "flat": (tiff((60_000, 60_000), ROW, strips(1, [len(ROW)] * 60_000) | {259: (3, [8])}), "LIMIT"),
    "flat without pixels": (tiff((60_000, 60_000), LONG_STRIP, strips(60_000, [64])), "LIMIT"),
    "flat 2^31": (tiff((HUGE, HUGE), LONG_STRIP, strips(HUGE, [64])), "LIMIT"),
    "tiled 2^31": (tiff((HUGE, HUGE), TILE, tiles([len(TILE)])), "UNSUPPORTED_FORMAT"),
    "tiled 2^32": (tiff((2**32 - 1, 2**32 - 1), TILE, tiles([len(TILE)])), "UNSUPPORTED_FORMAT"),
    "count": (tiff((1 << 20, 1 << 20), TILE, FOUR, {324: HUGE, 325: HUGE}), "UNSUPPORTED_FORMAT"),
    "thin": (tiff((HUGE, 16), TILE, tiles([len(TILE)], 16)), "UNSUPPORTED_FORMAT"),
    "one tile": (tiff((4096, 4096), TILE, tiles([len(TILE)], 2**31 - 16)), "LIMIT"),
    "packed tile": (tiff((65_536, 65_536), SPACE, tiles([len(SPACE)], 65_536) | {259: (3, [8])}), "LIMIT"),
    "no tile": (tiff((512, 512), TILE, tiles([len(TILE)], 0)), "TRUNCATED"),
    "no size": (tiff((0, 0), LONG_STRIP, strips(1, [64])), "UNSUPPORTED_FORMAT"),
    "loop": (tiff((512, 512), TILE, FOUR, loop=True), "UNSUPPORTED_FORMAT"),
    "nested loop": (tiff((512, 512), TILE, FOUR | {330: (4, [8 + len(TILE)])}), ""),
    "long text": (tiff((512, 512), TILE, FOUR | {270: (2, [65] * 8)}, {270: 2**32 - 1}), ""),
    "samples": (tiff((512, 512), TILE, FOUR | {277: (3, [65_535])}), "UNSUPPORTED_FORMAT"),
    "png": (png(60_000, 60_000), "LIMIT"),
    "png 2^31": (png(HUGE, HUGE), "LIMIT"),
    "jpeg": (jpeg(65_500, 65_500), "LIMIT"),
}

OPEN = """
import json, resource, sys, time
from pathlib import Path
from slidestream.errors import InputError
from slidestream.wsi import open_slide

resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
codes = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        with open_slide(path, 0.5) as slide:
            slide.overview(8.0, 1000)
            codes[path.name] = ""
    except InputError as error:
        codes[path.name] = error.code
print(json.dumps(codes))
"""


def test_bombs_end_at_once_with_a_code(tmp_path: Path) -> None:
    """All of them in one process with 1 GiB: one that decodes, or loops, fails the test."""
    for name, (content, _) in BOMBS.items():
        (tmp_path / name).write_bytes(content)
    pixels = np.zeros((96, 128, 3), np.uint8)
    dicom = {
        "dicom 2^32": {"TotalPixelMatrixColumns": 2**32 - 1, "TotalPixelMatrixRows": 2**32 - 1},
        "dicom frames": {"NumberOfFrames": HUGE},
        "dicom frame": {"Rows": 65_535, "Columns": 65_535},
    }
    for number, (name, extra) in enumerate(dicom.items()):
        write(tmp_path / name, pixels, Scan(sparse=True, series=f"1.{number}", extra=extra))
    ended = subprocess.run(
        [sys.executable, "-c", OPEN, tmp_path], capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    expected = {name: code for name, (_, code) in BOMBS.items()}
    expected |= {"dicom 2^32": "LIMIT", "dicom frames": "TRUNCATED", "dicom frame": "TRUNCATED"}
    assert json.loads(ended.stdout) == expected
