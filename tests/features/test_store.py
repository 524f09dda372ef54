"""The store: values come back, and nothing that is not whole is ever read."""

from __future__ import annotations

import errno
import json
import mmap
import random
import tracemalloc
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr

from slidestream.errors import StoreCorrupt, StoreIncomplete
from slidestream.features.copying import copy_store
from slidestream.features.layout import list_stores, slide_id_of, store_path
from slidestream.features.store import open_store
from slidestream.features.verify import verify_store
from slidestream.features.writer import Resume, StoreWriter

N, DIM = 37, 5


def fixed(n: int = N) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "coords": rng.integers(0, 9999, (n, 2)).astype(np.int32),
        "tissue": rng.random(n).astype(np.float16),
        "thumbnail": rng.integers(0, 255, (20, 30, 3)).astype(np.uint8),
        "mask": rng.integers(0, 2, (20, 30)).astype(np.uint8),
    }


STATUS = np.array([1 if i == 4 else 2 if i == 20 else 0 for i in range(N)], np.uint8)
VALUES = np.random.default_rng(1).normal(size=(N, DIM)).astype(np.float32)
ATTRIBUTES = {"schema": 1, "slide_id": "a", "encoder": {"dim": DIM}}


def write(place: Path, batch: int = 8) -> Path:
    with StoreWriter(place, fixed(), DIM) as writer:
        for i in range(0, N, batch):
            status = STATUS[i : i + batch]
            writer.append(status, VALUES[i : i + batch][status == 0])
        writer.commit(ATTRIBUTES)
    return place


def test_values_come_back(tmp_path: Path) -> None:
    store = open_store(write(tmp_path / "a.zarr"))
    expected = VALUES.copy()
    expected[[4, 20]] = np.nan
    np.testing.assert_array_equal(store.features(), expected)
    np.testing.assert_array_equal(store.status(), STATUS)
    for name, array in fixed().items():
        np.testing.assert_array_equal(store.read(name), array)
    assert store.attributes["counts"] == {"ok": N - 2, "unreadable": 1, "outside": 1, "pen": 0, "blur": 0}
    assert store.attributes["unreadable"] == [fixed()["coords"][4].tolist()]
    assert verify_store(store.path) == []
    np.testing.assert_array_equal(zarr.open_group(store.path, mode="r")["features"][...], expected)


@pytest.mark.parametrize(
    "array", ["features", "features_crc32c", "coords", "status", "tissue", "mask", "thumbnail"]
)
def test_zarr_itself_reads_every_array(tmp_path: Path, array: str) -> None:
    store = open_store(write(tmp_path / "a.zarr"))
    found = zarr.open_group(store.path, mode="r")[array]
    np.testing.assert_array_equal(found[...], store.read(array))
    assert found.dtype == store.read(array).dtype


def test_every_chunk_ends_in_its_crc32c(tmp_path: Path) -> None:
    chunk = (write(tmp_path / "a.zarr") / "features/c/0/0").read_bytes()
    assert len(chunk) == N * DIM * 4 + 4
    assert google_crc32c.value(chunk[:-4]) == int.from_bytes(chunk[-4:], "little")


def test_writing_is_deterministic(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.zarr", 8), write(tmp_path / "b.zarr", 5)
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
    assert all((a / f).read_bytes() == (b / f).read_bytes() for f in files)


def test_no_patch_at_all(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a.zarr", fixed(0), DIM) as writer:
        writer.commit(ATTRIBUTES)
    assert open_store(tmp_path / "a.zarr").features().shape == (0, DIM)
    assert verify_store(tmp_path / "a.zarr") == []


def test_a_black_picture_still_has_its_chunk(tmp_path: Path) -> None:
    parts = fixed() | {"mask": np.zeros((20, 30), np.uint8)}
    with StoreWriter(tmp_path / "a.zarr", parts, 0) as writer:
        writer.append(STATUS, np.empty((N - 2, 0), np.float32))
        writer.commit(ATTRIBUTES | {"encoder": {"dim": 0}})
    assert (tmp_path / "a.zarr/mask/c/0/0").is_file()
    assert verify_store(tmp_path / "a.zarr") == []


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    """One byte of any file, metadata included: verify names the store and the array."""
    store = write(tmp_path / "a.zarr")
    rng = random.Random(0)
    for file in sorted(p for p in store.rglob("*") if p.is_file()):
        clean = file.read_bytes()
        at = rng.randrange(len(clean))
        file.write_bytes(clean[:at] + bytes([clean[at] ^ 0x15]) + clean[at + 1 :])
        problems = verify_store(store)
        meaningless = file.name == "zarr.json" and _same_json(clean, file.read_bytes())
        assert problems or meaningless, f"{file} byte {at}"
        assert all(p.slide_id == "a" for p in problems)
        if file.name != "zarr.json":
            assert [p.array for p in problems] == [file.relative_to(store).parts[0]]
        file.write_bytes(clean)
    assert verify_store(store) == []


def _same_json(a: bytes, b: bytes) -> bool:
    try:
        return json.loads(a) == json.loads(b)
    except ValueError:
        return False


def test_every_lost_file_is_found_and_never_read_as_zeros(tmp_path: Path) -> None:
    store = write(tmp_path / "a.zarr")
    for file in sorted(p for p in store.rglob("*") if p.is_file()):
        clean = file.read_bytes()
        file.unlink()
        assert verify_store(store), file
        if file.parent != store:
            with pytest.raises(StoreCorrupt):
                open_store(store).read(file.relative_to(store).parts[0])
        file.write_bytes(clean)


def test_a_chunk_of_another_store_is_found(tmp_path: Path) -> None:
    """Its own crc32c is right; the array's sha256 is not."""
    a, b = write(tmp_path / "a.zarr"), tmp_path / "b.zarr"
    with StoreWriter(b, fixed(), DIM) as writer:
        writer.append(STATUS, VALUES[STATUS == 0] + 1)
        writer.commit(ATTRIBUTES)
    (a / "features/c/0/0").write_bytes((b / "features/c/0/0").read_bytes())
    assert [p.array for p in verify_store(a)] == ["features"]


@pytest.fixture(params=["mapped", "read"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are mapped, or read where the system has no way to promise every page."""
    monkeypatch.setattr("slidestream.features.chunk.MAPPED_BYTES", 0)
    if request.param == "read":
        monkeypatch.setattr("slidestream.features.chunk.sys.platform", "win32")


@pytest.mark.usefixtures("either_way")
def test_a_change_to_what_was_read_never_reaches_the_store(tmp_path: Path) -> None:
    store = open_store(write(tmp_path / "a.zarr"))
    features = store.features()
    features[:] = 7
    assert (features == 7).all()
    assert verify_store(store.path) == []
    np.testing.assert_array_equal(store.features()[0], VALUES[0])


@pytest.mark.usefixtures("either_way")
def test_a_flipped_byte_is_never_read(tmp_path: Path) -> None:
    store = open_store(write(tmp_path / "a.zarr"))
    chunk = store.path / "features/c/0/0"
    for at in (0, 100, N * DIM * 4 - 1, N * DIM * 4, N * DIM * 4 + 3):
        clean = chunk.read_bytes()
        chunk.write_bytes(clean[:at] + bytes([clean[at] ^ 1]) + clean[at + 1 :])
        with pytest.raises(StoreCorrupt, match="checksum"):
            store.features()
        chunk.write_bytes(clean)
    for wrong in (clean[:-1], clean + b"0", b""):
        chunk.write_bytes(wrong)
        with pytest.raises(StoreCorrupt, match="checksum"):
            store.features()


def test_a_bad_sector_costs_the_store_not_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system says beforehand that a page cannot be had; reading it would end the process by SIGBUS."""

    class Bad(mmap.mmap):
        def madvise(self, *_: int) -> None:
            raise OSError(errno.EFAULT, "Bad address")

    store = open_store(write(tmp_path / "a.zarr"))
    monkeypatch.setattr("slidestream.features.chunk.MAPPED_BYTES", 0)
    monkeypatch.setattr(mmap, "mmap", Bad)
    monkeypatch.setattr("slidestream.features.chunk.sys.platform", "linux")
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        store.features()


def test_an_old_kernel_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(mmap.mmap):
        def madvise(self, *_: int) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    store = open_store(write(tmp_path / "a.zarr"))
    monkeypatch.setattr("slidestream.features.chunk.MAPPED_BYTES", 0)
    monkeypatch.setattr(mmap, "mmap", Old)
    np.testing.assert_array_equal(store.features()[:4], VALUES[:4])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_bags_that_are_kept_keep_no_file_open(tmp_path: Path) -> None:
    """A cache holds thousands of small bags, and a process may open about a thousand files."""
    store = open_store(write(tmp_path / "a.zarr"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [array for _ in range(20) for array in (store.features(), store.coords())]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert len(kept) == 40


def test_some_rows_are_read_without_the_others(tmp_path: Path) -> None:
    """Whatever is wrong with the rows beside them: they are not looked at. Their own damage is found."""
    store = open_store(write(tmp_path / "a.zarr"))
    whole, rows = store.features(), [30, 2, 2, 36, 4]
    chunk = store.path / "features/c/0/0"
    clean = chunk.read_bytes()
    wanted = {at for row in rows for at in range(row * DIM * 4, (row + 1) * DIM * 4)}
    chunk.write_bytes(bytes(b if at in wanted else b ^ 0xFF for at, b in enumerate(clean)))
    np.testing.assert_array_equal(store.feature_rows(rows), whole[rows])
    with pytest.raises(StoreCorrupt, match="checksum"):
        store.feature_rows([2, 3])
    chunk.write_bytes(clean[: 20 * DIM * 4])
    with pytest.raises(StoreCorrupt, match="checksum"):
        store.feature_rows([30])
    assert store.feature_rows([]).shape == (0, DIM)
    for row in (-1, N):
        with pytest.raises(IndexError):
            store.feature_rows([row])


def test_neither_resuming_nor_copying_holds_a_bag_in_memory(tmp_path: Path) -> None:
    parts = {**fixed(4000), "tissue": np.zeros(4000, np.float16)}
    rows, status = np.ones((500, 1024), np.float32), np.zeros(500, np.uint8)

    def begin(place: Path, until: int) -> None:
        with StoreWriter(place, parts, 1024, Resume("k", 500)) as writer:
            while writer.rows_done < until:
                writer.append(status, rows)
            if until < 4000:
                raise KeyboardInterrupt
            writer.commit(ATTRIBUTES | {"encoder": {"dim": 1024}})

    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "a.zarr", 3500)
    tracemalloc.start()
    begin(tmp_path / "a.zarr", 4000)
    copy_store(tmp_path / "a.zarr", tmp_path / "b.zarr", "b")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20, "of a bag of 16 MiB"
    np.testing.assert_array_equal(open_store(tmp_path / "b.zarr").feature_rows([3999]), rows[:1])


def test_an_unfinished_store_is_refused(tmp_path: Path) -> None:
    store = write(tmp_path / "a.zarr")
    document = json.loads((store / "zarr.json").read_text())
    document["attributes"]["complete"] = False
    (store / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(StoreIncomplete):
        open_store(store)
    with pytest.raises(StoreIncomplete):
        open_store(tmp_path / "none.zarr")


def test_leaving_without_commit_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with StoreWriter(tmp_path / "a.zarr", fixed(), DIM) as writer:
            writer.append(STATUS[:8], VALUES[:8][STATUS[:8] == 0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_missing_rows_cannot_be_committed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "a.zarr", fixed(), DIM) as writer:
        writer.commit(ATTRIBUTES)


@pytest.mark.parametrize(
    "slide_id", ["a", "../a", ".hidden", "a/b", "ö ü", "100%", "a\nb", "con", "a.zarr", ".."]
)
def test_hostile_names_round_trip(tmp_path: Path, slide_id: str) -> None:
    path = store_path(tmp_path, slide_id)
    assert path.parent == tmp_path / "embeddings"
    assert slide_id_of(path) == slide_id
    path.mkdir(parents=True)
    assert list_stores(tmp_path) == [path]
