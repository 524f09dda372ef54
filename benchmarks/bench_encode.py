"""How much of an encoder's own speed a whole run keeps, and on a GPU how much of the device's.

    python benchmarks/bench_encode.py [SLIDE] [--mpp UM] [--repeats N] [--threads N] [--json]

The encoder's own speed is that of batches which already lie on its device, preprocessing included. The run
reads SLIDE (without one, 8,000 px a side are drawn), finds tissue, encodes and stores; only the encoder is
loaded before. The two take turns, and the ratio is that of the medians. Weights are random.

On the CPU: ViT-S/16 in fp32. On a GPU: ViT-L/16 and ViT-g/14 in bf16, and the model FLOP utilisation of their
own speed, of the dense bf16 peak that the vendor states; --peak gives that in TFLOP/s for another device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import yaml
from memory import write_tissue
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.job import Outcome
from slidestream.cohort.plan import Step
from slidestream.cohort.process import cached_embedder
from slidestream.cohort.run import RunOrder, run_cohort
from slidestream.features.encoder import load_encoder
from slidestream.tiling.spec import PatchSpec

SIDE = 224
PEAKS = {"A100": 312.0, "H100": 989.4, "H200": 989.4, "L40S": 362.0, "B200": 2250.0}
"""Dense bf16 TFLOP/s, from NVIDIA's data sheets."""


class Silent:
    def planned(self, step: Step) -> None: ...
    def begins(self, jobs: int) -> None: ...
    def patches(self, slide_id: str, done: int, total: int) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


@dataclass(frozen=True)
class Subject:
    """An architecture to measure, and how it computes."""

    architecture: str
    dim: int
    precision: str
    device: str


ON_CPU = [Subject("vit_small_patch16_224", 384, "fp32", "cpu")]
ON_GPU = [
    Subject("vit_large_patch16_224", 1024, "bf16", "cuda"),
    Subject("vit_giant_patch14_dinov2", 1536, "bf16", "cuda"),
]


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


def own_speed(subject: Subject, card: Path, given: argparse.Namespace) -> float:
    """Patches per second of batches that lie on the device."""
    encoder = load_encoder(str(card), subject.device)
    pixels = torch.randint(
        0, 256, (given.batch_size, SIDE, SIDE, 3), dtype=torch.uint8, device=subject.device
    )
    kind, half = torch.device(subject.device).type, subject.precision == "bf16"

    def batch() -> torch.Tensor:
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            return encoder(pixels.permute(0, 3, 1, 2)).cpu()

    batch()
    start, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < given.seconds:
        batch()
        done += given.batch_size
    return done / taken


def run_speed(subject: Subject, card: Path, slide: Path, given: argparse.Namespace) -> float:
    """Patches per second of a whole run, from an empty folder to a finished store."""
    config = RunConfig(str(card), PatchSpec(SIDE, given.mpp), precision=subject.precision)
    means = Execution(batch_size=given.batch_size, device=subject.device)
    cached_embedder(config.encoder, subject.device, subject.precision)
    with tempfile.TemporaryDirectory() as folder:
        order = RunOrder([Input("slide", str(slide))], config, Path(folder), means)
        start = time.perf_counter()
        (outcome,) = run_cohort(order, Silent()).outcomes
        taken = time.perf_counter() - start
    assert not outcome.code, outcome
    return outcome.patches / taken


def flop_of(card: Path) -> float:
    """Floating-point operations of one patch, as PyTorch counts them."""
    encoder = load_encoder(str(card), "cpu")
    with FlopCounterMode(display=False) as counter:
        encoder.module(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8))
    return float(counter.get_total_flops())


def peak_flop(asked: float | None) -> float | None:
    """The GPU's dense bf16 FLOP/s; None where it is not known."""
    name = torch.cuda.get_device_name()
    found = asked or next((peak for key, peak in PEAKS.items() if key in name), None)
    return found and found * 1e12


def measure(subject: Subject, slide: Path, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        card = write_card(subject, Path(folder))
        speeds: dict[str, list[float]] = {"own": [], "run": []}
        for _ in range(given.repeats):
            speeds["own"].append(own_speed(subject, card, given))
            speeds["run"].append(run_speed(subject, card, slide, given))
        flop = flop_of(card)
    own, run = (statistics.median(speeds[way]) for way in ("own", "run"))
    told = {"device": subject.device, "precision": subject.precision, "own": own, "run": run}
    told |= {"ratio": run / own, "all": speeds}
    peak = peak_flop(given.peak) if subject.device == "cuda" else None
    return told | ({"mfu": own * flop / peak} if peak else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("slide", nargs="?", type=Path)
    parser.add_argument("--mpp", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of the encoder by itself, at a time")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--peak", type=float)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    subjects = ON_GPU if torch.cuda.is_available() else ON_CPU
    with tempfile.TemporaryDirectory() as scratch:
        slide = given.slide or write_tissue(Path(scratch, "slide.tiff"), 8000)
        found = {subject.architecture: measure(subject, slide, given) for subject in subjects}
    if given.json:
        print(json.dumps(found))
        return
    if subjects is ON_CPU:
        print("There is no GPU here: the CPU only, and no model FLOP utilisation.")
    for name, told in found.items():
        used = f", {told['mfu']:.0%} of the device's FLOP/s" if "mfu" in told else ""
        print(
            f"{name} on {told['device']}, {told['precision']}: {told['own']:.1f} patches/s by itself{used},"
        )
        print(f"  {told['run']:.1f} in a whole run: {told['ratio']:.3f} of it")


if __name__ == "__main__":
    main()
