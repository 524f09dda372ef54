"""The same tissue under two patients would be learned in one fold and judged in another: found beforehand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .bags import Bags
from .cache import LoadBag
from .labels import Labels
from .standardise import Moments

ALIKE = 0.999
"""Cosine of the moments of two slides, standardised over the cohort, above which they are one."""

TOO_LARGE = 1000
"""Times that the embeddings of a slide may be larger than is usual."""


def require_no_leak(labels: Labels, identities: dict[str, str], load: LoadBag) -> None:
    """Refuse slides of two patients that are the same slide.

    Folds keep a patient whole, so a slide that occurs twice within a patient does no harm. One patient under
    two names cannot be seen.

    Args:
        labels: the slides to train on.
        identities: content identity of each slide.
        load: gives the single bag of a slide.

    Raises:
        UsageError: pairs with the same content, or as many patches with nearly the same moments; or a slide
            whose embeddings are much larger than those of the others.
    """
    pairs = list(same_content(labels, identities)) or list(near_duplicates(labels, load))
    if pairs:
        named = "; ".join(f"{a} (patient {p}) and {b} (patient {q})" for a, p, b, q in pairs[:5])
        more = f"; and {len(pairs) - 5} more pairs" if len(pairs) > 5 else ""
        raise UsageError(
            f"Slides of different patients are the same or nearly so: {named}{more}.",
            "Give both the same patient, or remove one; if they truly differ, use --allow-duplicates.",
        )


Pair = tuple[str, str, str, str]


def same_content(labels: Labels, identities: dict[str, str]) -> Iterator[Pair]:
    """(slide, patient, slide, patient) of different patients with one content identity."""
    first: dict[str, tuple[str, str]] = {}
    for entry in labels.entries:
        slide, patient = first.setdefault(identities[entry.slide], (entry.slide, entry.patient))
        if patient != entry.patient:
            yield slide, patient, entry.slide, entry.patient


def near_duplicates(labels: Labels, load: LoadBag) -> Iterator[Pair]:
    """(slide, patient, slide, patient) of different patients with as many patches and like moments."""
    bags = (load(slide) for slide in labels.slides)
    facts = [(len(bag.features), _moments(bag)) for bag in bags]
    counts = np.array([count for count, _ in facts])
    _require_one_scale(labels, np.stack([moments for _, moments in facts]))
    directions = _directions(np.stack([moments for _, moments in facts]))
    for i, one in enumerate(labels.entries):
        later = np.arange(len(counts)) > i
        for j in np.flatnonzero(later & (counts == counts[i]) & (directions @ directions[i] > ALIKE)):
            other = labels.entries[j]
            if one.patient != other.patient:
                yield one.slide, one.patient, other.slide, other.patient


def _require_one_scale(labels: Labels, moments: NDArray[np.float64]) -> None:
    """One slide of broken embeddings would spoil the standardisation of all."""
    sizes = np.linalg.norm(moments, axis=1)
    usual = float(np.median(sizes))
    if usual > 0 and sizes.max() > TOO_LARGE * usual:
        slide = labels.slides[int(sizes.argmax())]
        raise UsageError(
            f"The embeddings of slide {slide} are {sizes.max() / usual:.0f} times as large as those of the "
            "others: they are broken, or another encoder's.",
            "Leave it out of the labels, or compute its embeddings again.",
        )


def _moments(bag: Bags) -> NDArray[np.float64]:
    """(2 D,) mean and standard deviation of the embeddings: means alone are too alike where D is small."""
    moments = Moments.of_bag(bag)
    return np.concatenate([moments.mean.numpy(), moments.variance.sqrt().numpy()])


def _directions(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, 2 D) of length 1: raw embeddings all point nearly one way, so what they share is taken off."""
    spread = moments.std(0)
    centred = (moments - moments.mean(0)) / np.where(spread > 1e-9 * np.abs(moments).max(), spread, np.inf)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: NDArray[np.float64] = centred / np.where(length > 0, length, 1)
    return unit
