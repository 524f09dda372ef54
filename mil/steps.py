"""What an epoch is made of: bags in random order, a few at a time, and what augmentation does to them.

Mixup of bags follows the pseudo-bags of Liu et al., 2024, https://arxiv.org/abs/2306.16180: a mixed bag holds
a share of the patches of one slide and the rest of another's, and its loss is that of both labels, weighed
alike. Their pseudo-bags are drawn from clusters of patches; these are drawn at random, which for hundreds of
patches holds about the same of each kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from .bags import Bags
from .cache import LoadBag
from .patients import one_bag
from .prefetch import Prefetch
from .spec import TrainSpec

MIXED = 0.5
"""Share of the steps whose bags are mixed: the paper's."""

Case = tuple[str, int | tuple[float, ...]]
"""A slide, and its class index or what is known of its targets."""


@dataclass(frozen=True, eq=False)
class Step:
    """Some bags and what they should be.

    Attributes:
        bags: B of them.
        targets: (B,) class indices; or (B, W) of other targets, or several, NaN where one is not known.
        others: targets of the slides that are mixed in; None where none are.
        share: of each bag that is of its own slide; the rest is of the other.
    """

    bags: Bags
    targets: torch.Tensor
    others: torch.Tensor | None = None
    share: float = 1.0


def training_steps(
    slides: Sequence[Case], load: LoadBag, spec: TrainSpec, draw: torch.Generator
) -> Prefetch[torch.Tensor, Step]:
    """An epoch of ragged bags, each step read while the one before is taken.

    Random numbers come from a generator of their own: dropout draws at the same time in another thread.
    """

    def step(numbers: torch.Tensor) -> Step:
        chosen = [slides[number] for number in numbers.tolist()]
        bags = [_thinned(load(slide), spec, draw) for slide, _ in chosen]
        targets = known_of_each(chosen).to(spec.device)
        if spec.mixup and len(bags) > 1 and float(torch.rand((), generator=draw)) < MIXED:
            return _mixed(bags, targets, draw)
        return Step(Bags.of(bags), targets)

    return Prefetch(step, torch.split(_order(slides, spec, draw), spec.bags_per_step))


def whole_bags(slides: Sequence[Case], load: LoadBag) -> Prefetch[Case, Step]:
    """Every slide alone, with all its patches."""
    return Prefetch(lambda case: Step(load(case[0]), known_of_each([case])), slides)


def known_of_each(cases: Sequence[Case]) -> torch.Tensor:
    """(S,) class indices, or (S, W) float64 of other targets: times of many digits stay apart."""
    classes = isinstance(cases[0][1], int)
    return torch.tensor([known for _, known in cases], dtype=torch.int64 if classes else torch.float64)


def _order(slides: Sequence[Case], spec: TrainSpec, draw: torch.Generator) -> torch.Tensor:
    """Every slide once; or as many, drawn so that every class is as likely as another."""
    if spec.imbalance != "sampled":
        return torch.randperm(len(slides), generator=draw)
    targets = known_of_each(slides)
    weights = torch.bincount(targets).double().reciprocal()[targets]
    return torch.multinomial(weights, len(slides), replacement=True, generator=draw)


def _thinned(bag: Bags, spec: TrainSpec, draw: torch.Generator) -> Bags:
    """At most so many patches, after a share of them was dropped."""
    left = max(1, round(len(bag.features) * (1 - spec.drop_patches)))
    return bag.sample(min(spec.bag_size, left), draw)


def _mixed(bags: list[Bags], targets: torch.Tensor, draw: torch.Generator) -> Step:
    """Each bag with another of the step, by one share that is drawn evenly, as Beta(1, 1) is."""
    order = torch.randperm(len(bags), generator=draw)
    share = float(torch.rand((), generator=draw))
    pairs = [_both(bag, bags[other], share, draw) for bag, other in zip(bags, order.tolist(), strict=True)]
    return Step(Bags.of(pairs), targets, targets[order.to(targets.device)], share)


def _both(bag: Bags, other: Bags, share: float, draw: torch.Generator) -> Bags:
    mixed = one_bag([_part(bag, share, draw), _part(other, 1 - share, draw)])
    if bag.covariates is None or other.covariates is None:
        return mixed
    return replace(mixed, covariates=share * bag.covariates + (1 - share) * other.covariates)


def _part(bag: Bags, share: float, draw: torch.Generator) -> Bags:
    return bag.sample(max(1, round(len(bag.features) * share)), draw)
