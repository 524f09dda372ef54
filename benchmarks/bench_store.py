"""Speed of the store beside HDF5 files of the same numbers, in one run.

    python benchmarks/bench_store.py [--patches N] [--dim D] [--rows R] [--rounds K] [--place DIR] [--json]

Beside the store stand an HDF5 file with one contiguous dataset, the fastest layout it has; one with a chunk
per row, as CLAM and TRIDENT write them; and the store as zarr-python reads it. Each is written in batches of
256 rows and made durable, read whole, and read at R random rows in ascending order. Only the store's
checksums are checked; HDF5 has none here. The rounds are interleaved, so that what else the machine does
hits all of them; figures are medians. Reading is from the page cache: everything was just written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray

from slidestream.features.store import open_store
from slidestream.features.writer import StoreWriter
from slidestream.mil.bags import bag_from_store

BATCH = 256
ATTRIBUTES = {"schema": 1, "slide_id": "bench"}

Floats = NDArray[np.float32]
Timed = dict[str, Callable[[], object]]


def write_store(place: Path, values: Floats) -> None:
    """As a run does, with everything else a store holds."""
    count, dim = values.shape
    fixed = {
        "coords": np.zeros((count, 2), np.int32),
        "tissue": np.ones(count, np.float16),
        "thumbnail": np.zeros((64, 64, 3), np.uint8),
        "mask": np.ones((64, 64), np.uint8),
    }
    with StoreWriter(place, fixed, dim) as writer:
        for start in range(0, count, BATCH):
            part = values[start : start + BATCH]
            writer.append(np.zeros(len(part), np.uint8), part)
        writer.commit(ATTRIBUTES | {"encoder": {"dim": dim}})


def write_h5(place: Path, values: Floats, chunks: tuple[int, int] | None) -> None:
    """Batch after batch: grown where it is chunked, as CLAM does, else into a dataset of the final size."""
    count, dim = values.shape
    with h5py.File(place, "w") as file:
        growing = {"maxshape": (None, dim), "chunks": chunks} if chunks else {}
        data = file.create_dataset("features", (0 if chunks else count, dim), "f4", **growing)
        for start in range(0, count, BATCH):
            part = values[start : start + BATCH]
            if chunks:
                data.resize(start + len(part), axis=0)
            data[start : start + len(part)] = part
    with open(place, "rb") as written:
        os.fsync(written.fileno())


def read_h5(place: Path, rows: slice | list[int]) -> Floats:
    with h5py.File(place) as file:
        found: Floats = file["features"][rows]
    return found


def measured(ways: Timed, rounds: int) -> dict[str, float]:
    """Median seconds of each, round by round, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            result = work()
            if turn:
                times[name].append(time.perf_counter() - start)
            del result  # giving memory back is part of nobody's time
    return {name: statistics.median(found) for name, found in times.items()}


def writing(place: Path, values: Floats) -> Timed:
    return {
        "store": lambda: write_store(place / "a.zarr", values),
        "h5 contiguous": lambda: write_h5(place / "contiguous.h5", values, None),
        "h5 row chunks": lambda: write_h5(place / "rows.h5", values, (1, values.shape[1])),
    }


def reading(place: Path) -> Timed:
    store = place / "a.zarr"
    return {
        "store": lambda: open_store(store).features(),
        "bag for a head": lambda: bag_from_store(open_store(store)),
        "zarr-python": lambda: zarr.open_array(store / "features", mode="r")[...],
        "h5 contiguous": lambda: read_h5(place / "contiguous.h5", np.s_[:]),
        "h5 row chunks": lambda: read_h5(place / "rows.h5", np.s_[:]),
    }


def using(place: Path) -> Timed:
    """Reading and one pass over the numbers, which a mapped file pays for when it is first used."""
    return {
        "store": lambda: open_store(place / "a.zarr").features().sum(),
        "h5 contiguous": lambda: read_h5(place / "contiguous.h5", np.s_[:]).sum(),
    }


def picking(place: Path, rows: list[int]) -> Timed:
    return {
        "store": lambda: open_store(place / "a.zarr").feature_rows(rows),
        "h5 contiguous": lambda: read_h5(place / "contiguous.h5", rows),
        "h5 row chunks": lambda: read_h5(place / "rows.h5", rows),
    }


def check(place: Path, values: Floats, rows: list[int]) -> None:
    """Everybody read the same numbers."""
    for name, work in reading(place).items():
        found = work()
        assert np.array_equal(np.asarray(getattr(found, "features", found)), values), name
    for name, work in picking(place, rows).items():
        assert np.array_equal(np.asarray(work()), values[rows]), name


def measure(place: Path, given: argparse.Namespace) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((given.patches, given.dim)).astype(np.float32)
    rows = sorted(rng.choice(given.patches, min(given.rows, given.patches), replace=False).tolist())
    found = {"write": measured(writing(place, values), max(2, given.rounds // 5))}
    check(place, values, rows)
    found["whole bag"] = measured(reading(place), given.rounds)
    found["whole bag, and its sum"] = measured(using(place), given.rounds)
    found[f"{len(rows)} rows"] = measured(picking(place, rows), given.rounds)
    return found


def show(found: dict[str, dict[str, float]], megabytes: float) -> None:
    print(f"{megabytes:.0f} MB; times as fast as a contiguous h5 dataset, milliseconds")
    for name, seconds in found.items():
        print(name)
        for way, taken in seconds.items():
            print(f"  {way:<16}{seconds['h5 contiguous'] / taken:8.2f} x{taken * 1e3:10.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--patches", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--place", type=Path, help="a folder on the disk to measure")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="bench-store-", dir=given.place))
    try:
        found = measure(place, given)
    finally:
        shutil.rmtree(place)
    megabytes = given.patches * given.dim * 4 / 1e6
    if given.json:
        print(json.dumps({"megabytes": megabytes, "seconds": found}, indent=2))
    else:
        show(found, megabytes)


if __name__ == "__main__":
    main()
