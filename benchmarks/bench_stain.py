"""Speed of stain normalisation, beside torchstain's on the same patches in one run.

    python benchmarks/bench_stain.py [PICTURE] [--patches N] [--threads 2] [--json]

Patches of 224 px are cut from PICTURE, an H&E picture; without one they are drawn. torchstain fits and
normalises each patch by itself, which is its end to end; slidestream fits a slide once, makes a table of
colours once, and looks patches up in it. Each figure is the best of several passes: other programs can only
make a pass slower. Where there is a GPU, the lookup is measured on it too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchstain
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from timing import best

from slidestream.stain.fitting import fit
from slidestream.stain.reference import STAINS, reference
from slidestream.stain.sampling import MAX_PATCHES, PIXELS_PER_PATCH
from slidestream.stain.spec import METHODS, StainFit
from slidestream.stain.table import apply, colour_table

SIDE = 224
FEW = 16

Pixels = NDArray[np.uint8]


def drawn(side: int) -> Pixels:
    """Smooth haematoxylin and eosin with the noise of a scanner, uint8 (side, side, 3)."""
    rng = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma) * sigma for sigma in (3, 12)]
    amounts = np.stack([np.maximum(plane, 0) for plane in smooth], axis=-1) * 2
    levels = 240 * np.exp(-amounts @ np.array(STAINS)) + rng.normal(0, 2, (side, side, 3))
    return levels.round().clip(0, 255).astype(np.uint8)


def patches_of(picture: Pixels, count: int) -> Pixels:
    """Overlapping patches (count, SIDE, SIDE, 3), repeated where the picture has fewer."""
    height, width = picture.shape[:2]
    corners = [(y, x) for y in range(0, height - SIDE + 1, 56) for x in range(0, width - SIDE + 1, 56)]
    return np.stack([picture[y : y + SIDE, x : x + SIDE] for y, x in (corners * count)[:count]])


def torchstain_seconds(patches: Pixels, passes: int) -> dict[str, float]:
    """Seconds per patch of its backends, each fitting and normalising patch by patch."""
    as_torch = [torch.from_numpy(p).permute(2, 0, 1) for p in patches[:FEW]]
    found = {}
    for backend, inputs in {"numpy": list(patches[:FEW]), "torch": as_torch}.items():
        normaliser = torchstain.normalizers.MacenkoNormalizer(backend=backend)

        def work(inputs: list[Any] = inputs, normaliser: Any = normaliser) -> None:
            for patch in inputs:
                normaliser.normalize(patch, stains=False)

        found[backend] = best(work, passes) / len(inputs)
    return found


def largest_error(found: StainFit, patches: Pixels) -> float:
    """Levels between the table and the same formula in double precision, without rounding."""
    target = reference(found.method)
    scale = np.diag(np.array(target.strengths) / np.array(found.strengths))
    mixed = np.linalg.pinv(np.array(found.stains)) @ scale @ np.array(target.stains)
    exact = (240 * np.exp(np.log((patches[:FEW] + 1.0) / 240) @ mixed) - 1).clip(0, 255)
    return float(np.abs(apply(found, target, torch.from_numpy(patches[:FEW])).numpy() - exact).max())


def measure_method(method: str, patches: Pixels, passes: int) -> dict[str, float]:
    sample = np.random.default_rng(0).permutation(patches.reshape(-1, 3))[: MAX_PATCHES * PIXELS_PER_PATCH]
    found, target = fit(method, sample), reference(method)
    table = colour_table(found, target)
    there = torch.from_numpy(patches)
    result = {
        "fit_s": best(lambda: fit(method, sample), 3),
        "table_s": best(lambda: colour_table.__wrapped__(found, target), 3),
        "mpix_per_s": patches[..., 0].size / best(lambda: table(there), passes) / 1e6,
    }
    if method != "reinhard":
        result["max_error"] = largest_error(found, patches)
    if torch.cuda.is_available():
        result["gpu_mpix_per_s"] = patches[..., 0].size / _on_gpu(table, there, passes) / 1e6
    return result


def _on_gpu(table: Callable[[torch.Tensor], torch.Tensor], there: torch.Tensor, passes: int) -> float:
    resident = there.cuda()

    def work() -> None:
        table(resident)
        torch.cuda.synchronize()

    return best(work, passes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", type=Path)
    parser.add_argument("--patches", type=int, default=64)
    parser.add_argument("--passes", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    picture = np.array(Image.open(options.picture).convert("RGB")) if options.picture else drawn(1024)
    patches = patches_of(picture, options.patches)
    theirs = torchstain_seconds(patches, 3)
    ours = {method: measure_method(method, patches, options.passes) for method in METHODS}
    seconds = SIDE * SIDE / (ours["macenko"]["mpix_per_s"] * 1e6)
    ratios = {backend: per_patch / seconds for backend, per_patch in theirs.items()}
    if options.json:
        print(json.dumps({"slidestream": ours, "torchstain_s_per_patch": theirs, "ratio": ratios}))
        return
    print(f"{options.patches} patches of {SIDE} px, {options.threads} threads")
    for method, found in ours.items():
        print(f"{method:<10}" + "   ".join(f"{name} {value:.3f}" for name, value in found.items()))
    for backend, per_patch in theirs.items():
        print(
            f"torchstain ({backend}): {per_patch * 1e3:.1f} ms per patch, end to end; "
            f"macenko here is {ratios[backend]:.0f} times as fast"
        )
    if not torch.cuda.is_available():
        print("no GPU: not measured there")


if __name__ == "__main__":
    main()
