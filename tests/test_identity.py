"""Content is known again whatever it is called, and a change to it is seen as far as was asked for."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from slidestream.identity import SAMPLES, content_identity, how_of

SMALL = 1 << 20


@pytest.fixture(autouse=True)
def large_from_one_mib_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slidestream.identity.WHOLE_BELOW", 8 * SMALL)
    monkeypatch.setattr("slidestream.identity.BLOCK", 256)


def write(path: Path, size: int, flip: int | None = None) -> Path:
    data = bytearray(hashlib.shake_128(b"slide").digest(size))
    if flip is not None:
        data[flip] ^= 1
    path.write_bytes(data)
    return path


def test_names_and_times_do_not_count_and_order_does(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", 5000), write(tmp_path / "b", 5001)
    before = content_identity([a, b])
    os.utime(a, (1, 1))
    assert content_identity([a.rename(tmp_path / "c"), b]) == before
    assert content_identity([b, tmp_path / "c"]) != before


def test_small_files_are_read_whole_either_way(tmp_path: Path) -> None:
    path = write(tmp_path / "a", SMALL)
    before = content_identity([path])
    assert content_identity([path], "full") == before
    assert how_of(before) == "full"
    assert len(before) == 64
    for place in (0, SMALL // 2 + 1, SMALL - 1):
        assert content_identity([write(path, SMALL, place)]) != before


def test_in_a_large_file_a_changed_byte_is_always_seen_by_full(tmp_path: Path) -> None:
    """Fast sees the ends, the size and the samples; between two samples it sees nothing, and says so."""
    size = 16 * SMALL
    path = write(tmp_path / "a", size)
    fast, full = content_identity([path]), content_identity([path], "full")
    assert (how_of(fast), how_of(full)) == ("fast", "full")
    sample = 30 * (size - 256) // (SAMPLES - 1)
    for place, seen in ((0, True), (size - 1, True), (sample + 100, True), (sample + 10_000, False)):
        write(path, size, place)
        assert (content_identity([path]) != fast) is seen, place
        assert content_identity([path], "full") != full, place
    write(path, size + 1)
    assert content_identity([path]) != fast
