"""An epoch of gated attention MIL, against torchmil's trainer and a plain loop of one bag per step.

    python benchmarks/bench_train.py [--full] [--threads 2] [--epochs 2] [--json]

Draws 40 bags (200 with --full: 9 GB of disk) of 1,000 to 20,000 patches, 1,024 float16 each, and writes the
same numbers as stores and as npy. Every contender trains the same network (1,024 to 512, attention 256,
dropout a quarter) on all patches of every bag with AdamW, in a process of its own. Prints the time of the
last epoch and of the first, the share of it in which the next bags were not there yet, and the peak memory.
torchmil keeps all bags it has read in memory; ours keeps `cache_gb`, the plain loop nothing. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slidestream.features.card import EncoderCard
from slidestream.features.layout import ArrayLayout, array_metadata, group_metadata, list_stores, store_path
from slidestream.features.rows import RowFile
from slidestream.features.store import open_store
from slidestream.features.writer import beside_of, put_in_place
from slidestream.mil.bags import bag_from_store
from slidestream.mil.cache import BagCache
from slidestream.mil.fit import EpochReport, FoldJob, fit_head
from slidestream.mil.pages import ask_for_large_pages
from slidestream.mil.spec import TrainSpec
from slidestream.mil.standardise import Moments

DIM, HIDDEN, ATTENTION, DROPOUT = 1024, 512, 256, 0.25
LEAST, MOST = 1_000, 20_000
CONTENDERS = ("ours", "ours-float32", "torchmil", "plain")


def write_data(folder: Path, bags: int) -> None:
    """The same bags as stores and as npy, sizes evenly spread and shuffled."""
    random = np.random.default_rng(0)
    for name in ("features", "labels"):
        (folder / "npy" / name).mkdir(parents=True)
    for number, rows in enumerate(random.permutation(np.linspace(LEAST, MOST, bags).astype(int))):
        x = random.standard_normal((rows, DIM), dtype=np.float32).astype(np.float16)
        x[: rows // 10, :8] += 2 * (number % 2)
        slide = f"s{number:03}"
        write_store(folder / "run", slide, x)
        np.save(folder / "npy" / "features" / slide, x)
        np.save(folder / "npy" / "labels" / slide, np.array(number % 2))


def write_store(run: Path, slide: str, x: np.ndarray) -> None:
    """A store of float16 features, as a foundation model at half precision leaves it."""
    arrays = {
        "coords": np.stack([np.arange(len(x)) % 100, np.arange(len(x)) // 100], 1).astype(np.int32) * 256,
        "status": np.zeros(len(x), np.uint8),
        "features": x,
    }
    place = store_path(run, slide)
    beside = beside_of(place)
    for name, values in arrays.items():
        layout = ArrayLayout(name, values.shape, str(values.dtype))
        rows = RowFile(beside / name, layout)
        rows.append(values)
        rows.finish()
        rows.close()
        (beside / name / "zarr.json").write_text(json.dumps(array_metadata(layout)))
    card = EncoderCard("texture", "built-in", "1", "", "Apache-2.0", False, x.shape[1], 224)
    put_in_place(beside, place, group_metadata({"schema": 1, "slide_id": slide, "encoder": card.to_dict()}))


class Timed:
    """A data loader that counts the seconds in which its user waits."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader)
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - start
            yield batch


Epochs = list[tuple[float, float]]
"""Seconds of each epoch, and how many of them were spent waiting for data."""


def ours(folder: Path, options: argparse.Namespace) -> Epochs:
    paths = {f"s{number:03}": path for number, path in enumerate(list_stores(folder / "run"))}
    slides = [(slide, number % 2) for number, slide in enumerate(paths)]
    spec = TrainSpec(
        hidden=HIDDEN,
        attention=ATTENTION,
        dropout=DROPOUT,
        epochs=options.epochs,
        bag_size=MOST,
        threads=options.threads,
        precision="float32" if options.contender == "ours-float32" else "auto",
    )
    job = FoldJob(0, 2, slides, slides[:2], Moments(torch.zeros(DIM), torch.ones(DIM)), seed=0)
    cache = BagCache(lambda slide: bag_from_store(open_store(paths[slide])), int(spec.cache_gb * 1e9))
    told: list[EpochReport] = []
    fit_head(job, cache, spec, told.append)
    return [(report.seconds, report.waited) for report in told]


def plain(folder: Path, options: argparse.Namespace) -> Epochs:
    """One bag per step, in random order, in float32."""
    files = sorted((folder / "npy" / "features").glob("*.npy"))
    bags = [(path, number % 2) for number, path in enumerate(files)]
    loader = torch.utils.data.DataLoader(bags, batch_size=None, shuffle=True)
    network = PlainAbmil()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    epochs = []
    for _ in range(options.epochs):
        start, timed = time.perf_counter(), Timed(Reading(loader))
        for x, label in timed:
            loss = nn.functional.cross_entropy(network(x), torch.tensor([label]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        epochs.append((time.perf_counter() - start, timed.waited))
    return epochs


class Reading:
    """The bags of (path, label) pairs, read one by one."""

    def __init__(self, pairs: Any) -> None:
        self._pairs = pairs

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        for path, label in self._pairs:
            yield torch.from_numpy(np.load(path).astype(np.float32)), label


class PlainAbmil(nn.Module):
    """Gated attention of one bag (N, D), with plain layers."""

    def __init__(self) -> None:
        super().__init__()
        self.project = extractor()
        self.content = nn.Sequential(nn.Linear(HIDDEN, ATTENTION), nn.Tanh())
        self.gate = nn.Sequential(nn.Linear(HIDDEN, ATTENTION), nn.Sigmoid())
        self.score, self.classify = nn.Linear(ATTENTION, 1), nn.Linear(HIDDEN, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.project(x)
        attention = self.score(self.content(hidden) * self.gate(hidden)).softmax(0)
        logits: torch.Tensor = self.classify(attention.T @ hidden)
        return logits


def extractor() -> nn.Module:
    return nn.Sequential(nn.Linear(DIM, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT))


def torchmil(folder: Path, options: argparse.Namespace) -> Epochs:
    from torchmil.data import collate_fn
    from torchmil.datasets import ProcessedMILDataset
    from torchmil.models import ABMIL
    from torchmil.utils import Trainer

    def read(path: str, kind: str) -> np.ndarray:
        values = np.load(path)
        return values.astype(np.float32) if kind == "features" else values

    def loader(names: list[str] | None, shuffle: bool) -> Any:
        data = ProcessedMILDataset(
            features_path=str(folder / "npy" / "features"),
            labels_path=str(folder / "npy" / "labels"),
            bag_keys=["X", "Y"],
            bag_names=names,
            read_file_fn=read,
            verbose=False,
        )
        return torch.utils.data.DataLoader(data, batch_size=1, shuffle=shuffle, collate_fn=collate_fn)

    model = ABMIL(in_shape=(DIM,), att_dim=ATTENTION, gated=True, feat_ext=extractor())
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    trainer = Trainer(model, optimiser, device="cpu", disable_pbar=True, verbose=False)
    training, validation, epochs = loader(None, True), loader(["s000"], False), []
    for _ in range(options.epochs):
        start, timed = time.perf_counter(), Timed(training)
        trainer.train(1, timed, validation)
        epochs.append((time.perf_counter() - start, timed.waited))
    return epochs


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One contender, in this process."""
    if options.contender.startswith("ours"):
        ask_for_large_pages()  # as the command `train` does
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    run: Callable[..., Epochs] = {"torchmil": torchmil, "plain": plain}.get(options.contender, ours)
    epochs = run(folder, options)
    seconds, waited = epochs[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "first": epochs[0][0], "waited": waited / seconds, "peak_gb": peak / 1e9}


def compare(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    write_data(folder, 200 if options.full else 40)
    os.sync()  # or the first contender would share the disk with what is still to be written
    found = {}
    for name in CONTENDERS:
        command = [sys.executable, __file__, "--contender", name, "--folder", str(folder)]
        command += ["--threads", str(options.threads), "--epochs", str(options.epochs)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[name] = json.loads(answer.splitlines()[-1])
        print(f"{name}: {answer.splitlines()[-1]}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(measure(options.folder, options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        found = compare(Path(scratch), options)
    better = min(found[name]["seconds"] for name in ("torchmil", "plain"))
    ratio = better / found["ours"]["seconds"]
    if options.json:
        print(json.dumps({**found, "ratio": ratio}))
        return
    for name, f in found.items():
        print(
            f"{name:<14}{f['seconds']:8.1f} s an epoch (first {f['first']:.1f} s), "
            f"{f['waited']:.0%} waiting for data, peak {f['peak_gb']:.1f} GB"
        )
    print(f"the better of torchmil and the plain loop, against ours: {ratio:.2f} x")


if __name__ == "__main__":
    main()
