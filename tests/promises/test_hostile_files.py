"""Files that mean harm, by what they hold or by what they do to a decoder: each costs itself only."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from .conftest import SMALL, Cli, Plant, codes, outcomes, tree


def _tiff(width: int, height: int, next_ifd: int = 0, tile: int = 0) -> bytes:
    """A classic TIFF of `width` x `height` RGB pixels that are not there, in one strip or one tile."""
    place = (
        [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, 8), (325, 4, 1, 64)]
        if tile
        else [(273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 64)]
    )
    numbers = [(256, width), (257, height), (258, 8), (259, 1), (262, 2), (277, 3)]
    tags = sorted([*((number, 4, 1, value) for number, value in numbers), *place])
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    header = struct.pack("<2sHI", b"II", 42, 72) + bytes(64)
    return header + struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_ifd)


def _nested_dicom(depth: int) -> bytes:
    """A header whose referenced series (0008,1115) hold each other, `depth` times."""
    syntax = b"1.2.840.10008.1.2.1\0"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    sequence = struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return bytes(128) + b"DICM" + length + meta + (sequence + item) * depth


def test_bombs_and_loops_cost_themselves_only(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path]
) -> None:
    slides = draw_slides("good")
    hostile = {
        "bomb": _tiff(60_000, 60_000),
        "absurd": _tiff(2**31 - 1, 2**31 - 1),
        "tiny-tiles": _tiff(2**31 - 1, 2**31 - 1, tile=16),
        "huge-tile": _tiff(60_000, 60_000, tile=60_000),
        "loop": _tiff(512, 512, next_ifd=72),
        "tiled-loop": _tiff(512, 512, next_ifd=72, tile=512),
    }
    for name, data in hostile.items():
        (slides / f"{name}.tif").write_bytes(data)
    hostile["nested"] = _nested_dicom(5000)
    (slides / "nested.dcm").write_bytes(hostile["nested"])
    tifffile.imwrite(slides / "flat.tif", np.zeros((30_000, 30_000), bool), compression="deflate")
    ended = cli("run", slides, "-o", tmp_path / "run", *SMALL, "--slide-mpp", "0.5", "--json")
    assert ended.code == 3
    found = codes(ended)
    assert found.pop("good") == ""
    assert set(found) == {*hostile, "flat"}
    assert set(found.values()) <= {"LIMIT", "TRUNCATED", "UNSUPPORTED_FORMAT", "DECODER_CRASH"}, found
    assert all(outcome["cause"] and outcome["fix"] for o in found for outcome in [outcomes(ended)[o]])


def test_a_decoder_that_crashes_hangs_or_eats_memory_costs_its_slide(
    cli: Cli,
    tmp_path: Path,
    draw_slides: Callable[..., Path],
    plant: Plant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a reader process, at the moment when it opens the file."""
    slides = draw_slides("a-good", "crash", "hang", "hungry", "z-good")
    cli("run", slides, "-o", tmp_path / "calm", *SMALL, "--readers", 0)
    planted = plant(
        'name = os.path.basename(str(given[0])) if event == "open" else ""\n'
        'if reader and name == "crash.tiff":\n'
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
        'if reader and name == "hang.tiff":\n'
        "    time.sleep(600)\n"
        'if reader and name == "hungry.tiff":\n'
        "    bytearray(16 << 30)"
    )
    monkeypatch.setenv("PYTHONPATH", planted["PYTHONPATH"])
    limits = ["--timeout", 3, "--reader-memory", 2]
    ended = cli("run", slides, "-o", tmp_path / "run", *SMALL, *limits, "--json")
    expected = {"a-good": "", "crash": "DECODER_CRASH", "hang": "LIMIT", "hungry": "LIMIT", "z-good": ""}
    assert (ended.code, codes(ended)) == (3, expected)
    told = outcomes(ended)
    assert "SIGSEGV" in told["crash"]["cause"]
    assert "--timeout" in told["hang"]["fix"]
    assert "--reader-memory" in told["hungry"]["fix"]
    calm = tree(tmp_path / "calm/embeddings")
    found = tree(tmp_path / "run/embeddings")
    assert found == {name: data for name, data in calm.items() if "good" in name}
    assert len(found) == 2 * len(calm) / 5
