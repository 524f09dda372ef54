"""Sites that are kept whole, and spread evenly over folds.

Slides of one site share its scanner and its stains, and a head that has seen the site in training is judged
too kindly on the rest of it. Howard et al., 2021, https://doi.org/10.1038/s41467-021-24698-1, divide sites by
quadratic programming; here a local search lowers the same sum of squares, since the number of sites is small.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .labels import Labels

STARTS = 24
"""Of the local search, each from another order of the sites."""

LEAST_GAIN = 1e-12


def site_of_patients(labels: Labels, rows: Mapping[str, Mapping[str, str]], column: str) -> dict[str, str]:
    """The site of each patient.

    Args:
        labels: the slides to train on.
        rows: by slide, every column of the labels.
        column: the one that names the site.

    Raises:
        UsageError: no such column, a slide without a site, or a patient of two.
    """
    known = next(iter(rows.values()))
    if column not in known:
        raise UsageError(f"The labels have no column {column}.", f"Columns: {', '.join(known)}.")
    found: dict[str, str] = {}
    for entry in labels.entries:
        site = rows[entry.slide][column]
        if not site:
            raise UsageError(f"Slide {entry.slide} has no {column}.", "Fill it in or remove the line.")
        if found.setdefault(entry.patient, site) != site:
            raise UsageError(
                f"Patient {entry.patient} is in two groups of {column}: {found[entry.patient]} and {site}.",
                f"Keep the slides of one, or give all slides of the patient one {column}.",
            )
    return found


def even_folds(labels: Labels, sites: tuple[str, ...], folds: int, seed: int) -> NDArray[np.int64]:
    """(slides,) the fold of each slide: sites stay whole, classes are as even as they can be made.

    Deterministic: the same labels, sites and seed give the same folds.

    Args:
        labels: S slides.
        sites: (S,) of each slide.
        folds: at most as many as there are sites.
        seed: another one may find another division that is as even.
    """
    names, number = np.unique(np.array(sites), return_inverse=True)
    fold = even_division(_patients(labels, number, len(names)), folds, seed)
    found: NDArray[np.int64] = fold[number]
    return found


def even_division(counts: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """(G,) the fold of each site, for counts (G, C) of what is to be spread evenly."""
    random = np.random.default_rng(seed)
    shares = counts / counts.sum(0)
    found = [_search(shares, folds, random.permutation(len(shares))) for _ in range(STARTS)]
    return min(found, key=lambda fold: round(unevenness(shares, fold, folds), 12))


def unevenness(shares: NDArray[np.float64], fold: NDArray[np.int64], folds: int) -> float:
    """Sum over folds and columns of the squared distance from an even share."""
    return float((_excess(shares, fold, folds) ** 2).sum())


def _patients(labels: Labels, site: NDArray[np.int64], sites: int) -> NDArray[np.int64]:
    """(G, C + 1) patients of each class at each site, and patients in all."""
    seen = {
        (s, t, p) for s, t, p in zip(site.tolist(), labels.targets.tolist(), labels.patients, strict=True)
    }
    counts = np.zeros((sites, len(labels.classes) + 1), dtype=np.int64)
    for s, t, _ in seen:
        counts[s, t] += 1
    for s, _ in {(s, p) for s, _, p in seen}:
        counts[s, -1] += 1
    return counts


def _excess(shares: NDArray[np.float64], fold: NDArray[np.int64], folds: int) -> NDArray[np.float64]:
    """(K, C) what each fold has beyond an even share."""
    sums = np.zeros((folds, shares.shape[1]))
    np.add.at(sums, fold, shares)
    return sums - 1 / folds


def _search(shares: NDArray[np.float64], folds: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move a site, or exchange two, whatever helps most, until nothing helps."""
    fold = np.empty(len(shares), dtype=np.int64)
    fold[order] = np.arange(len(shares)) % folds
    while True:
        excess = _excess(shares, fold, folds)
        along = shares @ excess.T
        own = along[np.arange(len(fold)), fold]
        square = (shares**2).sum(1)
        # From fold a to b: 2 v (excess b - excess a) + 2 v v, with v the share that changes sides.
        moved = 2 * (along - own[:, None] + square[:, None])
        moved[np.arange(len(fold)), fold] = 0
        apart = square[:, None] + square - 2 * shares @ shares.T
        exchanged = 2 * (along[:, fold] - own[:, None] + along[:, fold].T - own + apart)
        exchanged[fold[:, None] == fold] = 0
        if min(moved.min(), exchanged.min()) > -LEAST_GAIN:
            return fold
        if moved.min() <= exchanged.min():
            site, to = np.unravel_index(moved.argmin(), moved.shape)
            fold[site] = to
        else:
            one, other = np.unravel_index(exchanged.argmin(), exchanged.shape)
            fold[[one, other]] = fold[[other, one]]
