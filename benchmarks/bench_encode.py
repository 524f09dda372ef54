"""How much of an encoder's own speed a whole run keeps, and on a GPU how much of the device's.

    python benchmarks/bench_encode.py [SLIDE...] [--mpp UM] [--precision KIND] [--repeats N] [--json]

The encoder's own speed is that of patches which already lie on its device, preprocessing included. The run
reads the slides (without one, 8,000 px a side are drawn), finds tissue, encodes and stores, from an empty
folder to finished stores. Encoder and run take turns in one process, with the same threads, precision and
patches at once: before and after each run the encoder is measured by itself, and a ratio is that of a run to
the mean of the two. The median of the ratios counts. Loading the model comes before and is stated by itself;
the start of the reader processes is within the run, and the ratio without it is stated too. Weights are
random.

On the CPU: ViT-S/16. On a GPU: ViT-L/16 and ViT-g/14 in bf16, and the model FLOP utilisation of their own
speed, of the dense bf16 peak that the vendor states; --peak gives that in TFLOP/s for another device.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
import yaml
from flop import utilisation, vit_flop
from memory import write_tissue
from safetensors.torch import save_file
from timing import START, Measured, measured_run

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.process import cached_embedder
from slidestream.features.batching import USUAL, measured_batch
from slidestream.features.embedder import Embedder
from slidestream.tiling.spec import PatchSpec

SIDE = 224
PEAKS = {"A100": 312.0, "H100": 989.4, "H200": 989.4, "L40S": 362.0, "B200": 2250.0}
"""Dense bf16 TFLOP/s, from NVIDIA's data sheets."""


@dataclass(frozen=True)
class Subject:
    """An architecture to measure, and how it computes."""

    architecture: str
    dim: int
    precision: str
    device: str


def subjects(precision: str) -> list[Subject]:
    if not torch.cuda.is_available():
        return [Subject("vit_small_patch16_224", 384, precision or "fp32", "cpu")]
    large, giant = ("vit_large_patch16_224", 1024), ("vit_giant_patch14_dinov2", 1536)
    return [Subject(*network, precision or "bf16", "cuda") for network in (large, giant)]


def write_card(subject: Subject, folder: Path) -> Path:
    """A YAML card and random weights of the architecture."""
    arguments = {"img_size": SIDE}
    torch.manual_seed(0)
    model = timm.create_model(subject.architecture, pretrained=False, num_classes=0, **arguments)
    save_file(model.state_dict(), folder / f"{subject.architecture}.safetensors")
    card = folder / f"{subject.architecture}.yaml"
    values = {
        "name": subject.architecture,
        "source": f"file:{subject.architecture}.safetensors",
        "licence": "none, random",
        "dim": subject.dim,
        "input_px": SIDE,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "resize": SIDE,
        "pooling": "cls",
        "prefix_tokens": 1,
        "patch_px": SIDE,
        "architecture": f"timm:{subject.architecture}",
        "arguments": arguments,
    }
    card.write_text(yaml.safe_dump(values))
    return card


def own_speed(subject: Subject, embedder: Embedder, batch: int, seconds: float) -> float:
    """Patches per second of batches that lie on the device, as many patches at once as in a run."""
    size = min(embedder.at_once or batch, batch)
    shape = (size, SIDE, SIDE, 3)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=subject.device)

    def some() -> None:
        for _ in range(4):
            embedded = embedder.on_device(pixels)
        embedded.cpu()

    some()
    start, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < seconds:
        some()
        done += 4 * size
    return done / taken


def measure(subject: Subject, slides: list[Path], given: argparse.Namespace) -> dict[str, Any]:
    inputs = [Input(f"slide-{n}", str(slide)) for n, slide in enumerate(slides)]
    with tempfile.TemporaryDirectory() as folder:
        card = write_card(subject, Path(folder))
        config = RunConfig(str(card), PatchSpec(SIDE, given.mpp), precision=subject.precision)
        means = Execution(device=subject.device, readers=given.readers)
        start = time.perf_counter()
        embedder = cached_embedder(config.encoder, subject.device, subject.precision)
        loading = time.perf_counter() - start
        gpu = subject.device == "cuda"
        found = given.batch_size or (measured_batch(embedder, "cuda", SIDE) if gpu else USUAL)
        means = replace(means, batch_size=found)
        own, runs = [own_speed(subject, embedder, means.batch_size, given.seconds)], []
        for _ in range(given.repeats):
            runs.append(measured_run(inputs, config, means))
            own.append(own_speed(subject, embedder, means.batch_size, given.seconds))
        flop = vit_flop(embedder.network.trunk, SIDE)  # type: ignore[arg-type]
    told = {"device": subject.device, "precision": subject.precision, "seconds_to_load": loading}
    told |= compared(own, runs) | {
        "batch_size": found,
        "threads": torch.get_num_threads(),
        "gflop_per_patch": flop / 1e9,
    }
    peak = peak_tflop(given.peak) if subject.device == "cuda" else None
    return told | ({"mfu": utilisation(told["own"], flop, peak)} if peak else {})


def compared(own: list[float], runs: list[Measured]) -> dict[str, Any]:
    """Medians; a run's ratio is to the mean of the encoder's own speed before it and after it."""
    beside = [(before + after) / 2 for before, after in itertools.pairwise(own)]
    whole = [run.patches / run.seconds / alone for run, alone in zip(runs, beside, strict=True)]
    working = [run.patches / run.working / alone for run, alone in zip(runs, beside, strict=True)]
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    return {
        "patches": runs[0].patches,
        "own": statistics.median(own),
        "run": statistics.median(run.patches / run.seconds for run in runs),
        "ratio": statistics.median(whole),
        "ratio_without_start": statistics.median(working),
        "start_seconds": statistics.median(run.stages.get(START, 0.0) for run in runs),
        "ratios": whole,
        "shares": middle.shares(),
    }


def peak_tflop(asked: float | None) -> float | None:
    """The GPU's dense bf16 TFLOP/s; None where it is not known."""
    name = torch.cuda.get_device_name()
    return asked or next((peak for key, peak in PEAKS.items() if key in name), None)


def show(name: str, told: dict[str, Any]) -> None:
    used = f", {told['mfu']:.0%} of the device's FLOP/s" if "mfu" in told else ""
    shares = ", ".join(f"{stage} {share:.1%}" for stage, share in told["shares"].items())
    print(f"{name} on {told['device']}, {told['precision']}, batches of {told['batch_size']}:")
    own = f"{told['own']:.1f} patches/s by itself{used}"
    print(f"  {own}, {told['threads']} threads; loaded in {told['seconds_to_load']:.1f} s")
    print(f"  {told['run']:.1f} in a whole run of {told['patches']} patches: {told['ratio']:.3f} of it;")
    print(f"  {told['ratio_without_start']:.3f} but for {told['start_seconds']:.1f} s of starting readers")
    print(f"  of the run: {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--mpp", type=float, default=1.0)
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of the encoder by itself, at a time")
    parser.add_argument("--batch-size", type=int, default=0, help="default: 32, and what pays on a GPU")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--peak", type=float)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        slides = given.slides or [write_tissue(Path(scratch, "slide.tiff"), 8000)]
        found = {s.architecture: measure(s, slides, given) for s in subjects(given.precision)}
    if given.json:
        print(json.dumps(found))
        return
    if not torch.cuda.is_available():
        print("There is no GPU here: the CPU only, and no model FLOP utilisation.")
    for name, told in found.items():
        show(name, told)


if __name__ == "__main__":
    main()
