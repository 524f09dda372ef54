"""Ragged gated-attention MIL against the same network on padded bags, in one run.

    python benchmarks/mil.py [--threads 1] [--rounds 7]

Prints the time of a forward and backward pass of each, and their ratio. Both compute the same logits,
which is checked first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from slidestream.mil.abmil import Abmil
from slidestream.mil.bags import Bags
from slidestream.mil.spec import TrainSpec

DIM, BAGS = 768, 8


def make_bags(spread: float) -> Bags:
    """Eight bags with a median of 1000 patches and log-normal sizes, as slides have them."""
    random = torch.Generator().manual_seed(0)
    sizes = (1000 * torch.exp(spread * torch.randn(BAGS, generator=random))).long().clamp(min=1)
    return Bags.of([Bags.single(torch.randn(int(n), DIM), torch.zeros(int(n), 2)) for n in sizes])


def pad(bags: Bags) -> tuple[torch.Tensor, torch.Tensor]:
    longest = int(bags.counts.max())
    x, mask = torch.zeros(len(bags), longest, DIM), torch.zeros(len(bags), longest, dtype=torch.bool)
    for number, count in enumerate(bags.counts.tolist()):
        x[number, :count], mask[number, :count] = bags[number].features, True
    return x, mask


def padded_logits(head: Abmil, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    hidden = head.project(head.standardise(x))
    scores = head.attend(hidden)[..., 0].masked_fill(~mask, -torch.inf)
    logits: torch.Tensor = head.classify(torch.einsum("bn,bnd->bd", scores.softmax(1), hidden))
    return logits


def seconds(logits: Callable[[], torch.Tensor], rounds: int) -> float:
    """Median over rounds of one forward and backward pass."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        logits().square().sum().backward()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    head = Abmil(TrainSpec(dropout=0.0), DIM, 2)
    for name, spread in (
        ("equal sizes", 0.0),
        ("sizes spread as e^0.5", 0.5),
        ("sizes spread as e^1.0", 1.0),
    ):
        bags = make_bags(spread)
        x, mask = pad(bags)
        torch.testing.assert_close(head(bags).logits, padded_logits(head, x, mask), atol=1e-4, rtol=0)
        ragged = seconds(lambda bags=bags: head(bags).logits, options.rounds)
        padded = seconds(lambda x=x, mask=mask: padded_logits(head, x, mask), options.rounds)
        used = len(bags.features) / mask.numel()
        print(
            f"{name}: ragged {ragged * 1e3:.1f} ms, padded {padded * 1e3:.1f} ms, "
            f"padded/ragged {padded / ragged:.2f}; {used:.0%} of the padded rows hold a patch"
        )


if __name__ == "__main__":
    main()
