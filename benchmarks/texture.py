"""Speed of the encoder texture, beside a plain per-patch implementation of comparable features in one run.

    python benchmarks/texture.py [--batch 32] [--threads 2] [--device cuda] [--json]

The reference computes, patch by patch with scikit-image and scipy, stain separation, local binary patterns at
two radii, six Gabor orientations at four scales on two planes, co-occurrence and blobs. One 3x3 convolution
to 32 maps says how fast the machine is at the least a network would do. Each figure is the best of several
passes: other programs can only make a pass slower.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import oaconvolve
from skimage.color import rgb2hed
from skimage.feature import blob_dog, graycomatrix, local_binary_pattern
from skimage.filters import gabor_kernel
from timing import best

from slidestream.features.texture import CARD, Texture

SIDE = 224


def tissue(count: int) -> torch.Tensor:
    """Random patches with structure at several scales: uint8 (count, 3, SIDE, SIDE)."""
    chance = torch.Generator().manual_seed(0)
    total = torch.zeros(count, 3, SIDE, SIDE)
    for cell in (2, 8, 32):
        coarse = torch.rand(count, 3, SIDE // cell, SIDE // cell, generator=chance)
        total += torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    return (total * 85).to(torch.uint8)


def reference(rgb: NDArray[np.uint8]) -> float:
    """Comparable features of one patch (H, W, 3) by general-purpose libraries; returns something to keep."""
    hed = rgb2hed(rgb)
    grey = rgb.mean(-1).astype(np.uint8)
    found = [np.quantile(hed, (0.05, 0.25, 0.5, 0.75, 0.95), axis=(0, 1)).sum()]
    found += [local_binary_pattern(grey, 8, radius, method="uniform").mean() for radius in (1, 2)]
    found += [graycomatrix(grey // 16, [2, 6], [0, 0.79, 1.57, 2.36], levels=16).mean()]
    found += [len(blob_dog(hed[::2, ::2, 0], min_sigma=1, max_sigma=3, threshold=0.01))]
    for step in (1, 2, 4, 8):
        kernels = [gabor_kernel(0.25, k * math.pi / 6, sigma_x=1.6, sigma_y=1.6) for k in range(6)]
        for plane in (hed[::step, ::step, 0], grey[::step, ::step] / 255):
            found += [np.abs(oaconvolve(plane, kernel, mode="same")).mean() for kernel in kernels]
    return float(np.sum(found))


def patches_per_second(work: Callable[[], object], patches: int, passes: int) -> float:
    """Best of `passes`, after one pass to warm up."""
    return patches / best(work, passes)


@torch.inference_mode()
def measure(batch: int, passes: int, device: str) -> dict[str, float]:
    pixels = tissue(batch)
    few = pixels[:4].permute(0, 2, 3, 1).contiguous().numpy()
    there, texture = pixels.to(device), Texture().to(device)
    convolution = torch.nn.Conv2d(3, 32, 3).to(device)
    ours = patches_per_second(lambda: texture(there).cpu(), batch, passes)
    plain = patches_per_second(lambda: [reference(patch) for patch in few], len(few), 3)
    conv = patches_per_second(lambda: convolution(there.float()).amax((2, 3)).cpu(), batch, passes)
    return {"texture": ours, "reference": plain, "conv3x3": conv, "texture/reference": ours / plain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = measure(options.batch, options.passes, options.device)
    if options.json:
        print(json.dumps(result | {"batch": options.batch, "threads": options.threads, "dim": CARD.dim}))
        return
    print(
        f"{CARD.dim} columns, {SIDE} px, batch {options.batch}, {options.threads} threads, {options.device}"
    )
    for name in ("texture", "reference", "conv3x3"):
        print(f"{name:<10} {result[name]:10.1f} patches/s")
    print(f"texture is {result['texture/reference']:.1f} times the scikit-image reference")


if __name__ == "__main__":
    main()
