"""The largest slide there may be, in a process of its own: one step, a prediction and its attention."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slidestream.features.layout import store_path
from slidestream.features.writer import StoreWriter

ROWS, DIM, BLOCK = 400_000, 1536, 4000
MOST_BYTES = 6e9

STEP = """
import json, sys
import numpy as np, torch
from slidestream.features.store import open_store
from slidestream.mil.bags import bag_from_store
from slidestream.mil.fit import FoldJob, fit_head
from slidestream.mil.spec import TrainSpec
from slidestream.mil.standardise import Moments

path, precision = sys.argv[1:]
load = lambda slide: bag_from_store(open_store(path))
spec = TrainSpec(epochs=1, bag_size=1_000_000, precision=precision, threads=2)
told = []
job = FoldJob(0, 2, [("a", 0)], [("a", 0)], Moments.of_bag(load("a")), seed=0)
head = fit_head(job, load, spec, told.append)
with torch.inference_mode():
    output = head(load("a"))
# Not ru_maxrss: that begins with what the process had before it became this program, which is a test run.
(peak,) = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({
    "loss": told[0].train_loss,
    "patches": len(output.attention),
    "attention": float(output.attention.double().sum()),
    "peak": peak * 1024,
}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 400,000 float32 embeddings, 2.5 GB, the first patch unreadable."""
    block = np.random.default_rng(0).standard_normal((BLOCK, DIM), dtype=np.float32)
    fixed = {
        "coords": np.stack([np.arange(ROWS) % 1000, np.arange(ROWS) // 1000], 1).astype(np.int32) * 256,
        "tissue": np.ones(ROWS, np.float16),
        "thumbnail": np.zeros((50, 100, 3), np.uint8),
        "mask": np.ones((50, 100), np.uint8),
    }
    place = store_path(tmp_path_factory.mktemp("large"), "a")
    with StoreWriter(place, fixed, DIM) as writer:
        for start in range(0, ROWS, BLOCK):
            status = np.zeros(BLOCK, np.uint8)
            status[0] = start == 0
            writer.append(status, block[status == 0])
        writer.commit({"schema": 1, "slide_id": "a", "encoder": {"dim": DIM}})
    return place


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_400_000_patches_train_and_predict_within_6_gb(large: Path, precision: str) -> None:
    command = [sys.executable, "-c", STEP, str(large), precision]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert np.isfinite(found["loss"])
    assert found["patches"] == ROWS - 1
    assert found["attention"] == pytest.approx(1, abs=1e-4)
    assert found["peak"] < MOST_BYTES
