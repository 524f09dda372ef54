"""How good predictions of survival are, where not every event was seen.

S slides have times (S,) and events (S,), True where the event was seen and not only waited for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Times = NDArray[np.float64]
Events = NDArray[np.bool_]

BLOCK = 1024
"""Slides that are compared pair by pair."""

LEAST = 1e-300
"""A survival of 0 has no logarithm."""


def kaplan_meier(times: Times, events: Events) -> tuple[Times, NDArray[np.float64]]:
    """Distinct times (T,), ascending, and the share (T,) that outlives each: Kaplan and Meier, 1958."""
    distinct, number = np.unique(times, return_inverse=True)
    died = np.bincount(number, weights=events)
    at_risk = np.bincount(number)[::-1].cumsum()[::-1]
    return distinct, np.cumprod(1 - died / at_risk)


def mortality(survival: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S,) one risk of survival (S, T) at T times: the mean cumulative hazard, as random survival forests
    have it (Ishwaran et al., 2008, https://arxiv.org/abs/0811.1645). With proportional hazards it has the
    order of the log hazard ratios."""
    return np.asarray(-np.log(np.maximum(survival, LEAST)).mean(1))


def concordance(
    times: Times, events: Events, risk: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Share of the pairs whose order in time is known in which the first to die had the greater risk (S,).

    Harrell et al., 1982. Equal risks count half. Of two slides at one time, the one with the event comes
    first. NaN where no order is known.

    Args:
        weights: (S,) of the pairs by the slide that dies first; by default all weigh the same.
    """
    # Who is censored at a time outlives those with an event then; two events then have no order.
    key = 2 * np.unique(times, return_inverse=True)[1] + ~events
    later = len(key) - np.searchsorted(np.sort(key), key, side="right")
    weight = events * (1.0 if weights is None else weights)
    pairs = float((weight * later).sum())
    return float((weight * _outranked(key, risk)).sum()) / pairs if pairs else float("nan")


def _outranked(key: NDArray[np.int64], risk: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S,) how many with a greater key have a lower risk, those of equal risk by half.

    Pairs are looked at within blocks of the keys; of all greater blocks the risks are counted: time grows
    with S times the blocks, and memory with S.
    """
    order = np.argsort(key, kind="stable")
    keys, rank = key[order], np.unique(risk, return_inverse=True)[1][order]
    behind = np.zeros(int(rank.max(initial=0)) + 1)
    found, end = np.empty(len(key)), len(key)
    while end:
        start = int(np.searchsorted(keys, keys[max(0, end - BLOCK)]))
        own = rank[start:end]
        found[order[start:end]] = (behind.cumsum() - behind / 2)[own] + _within(keys[start:end], own)
        behind += np.bincount(own, minlength=len(behind))
        end = start
    return found


def _within(keys: NDArray[np.int64], rank: NDArray[np.int64]) -> NDArray[np.float64]:
    """As `_outranked`, of one block, a part of its rows at a time: a block may be one long tie."""
    found = np.zeros(len(keys))
    for rows in np.array_split(np.arange(len(keys)), -(-len(keys) // BLOCK)):
        later = keys > keys[rows, None]
        own = rank[rows, None]
        found[rows] = (later & (own > rank)).sum(1) + (later & (own == rank)).sum(1) / 2
    return found


def concordance_uno(times: Times, events: Events, risk: NDArray[np.float64], until: float) -> float:
    """As `concordance`, but the censoring of these slides does not sway it; of deaths before a time.

    Uno et al., 2011, https://doi.org/10.1002/sim.4154: weighed by the inverse squared probability of not
    being censored until then.
    """
    seen = events & (times < until)
    uncensored = np.where(seen, not_censored(times, events, times, before=True), 1)
    return concordance(times, events, risk, np.where(seen, uncensored**-2.0, 0))


def not_censored(times: Times, events: Events, at: Times, before: bool = False) -> NDArray[np.float64]:
    """(T,) probability not to be censored until each of T times, or before it: Kaplan and Meier's.

    Who dies at a time was still there to be censored at it, so censoring comes second.
    """
    distinct, number = np.unique(times, return_inverse=True)
    lost = np.bincount(number, weights=~events)
    left = np.bincount(number)[::-1].cumsum()[::-1] - np.bincount(number, weights=events)
    kept = np.cumprod(1 - np.divide(lost, left, out=np.zeros_like(lost), where=left > 0))
    place = np.searchsorted(distinct, at, side="left" if before else "right")
    return np.concatenate([[1.0], kept])[place]


def brier_over_time(
    times: Times, events: Events, survival: NDArray[np.float64], at: Times
) -> NDArray[np.float64]:
    """(T,) mean squared distance of survival (S, T) at T times from the truth: Graf et al., 1999.

    Slides whose state at a time is known stand for those that were censored before: they weigh the inverse
    of their probability not to be. NaN where no slide outlives the time.
    """
    dead = events[:, None] & (times[:, None] <= at)
    alive = times[:, None] > at
    until_death = np.where(events, not_censored(times, events, times, before=True), 1)
    until_then = not_censored(times, events, at)
    known = alive.any(0)
    errors = dead * survival**2 / until_death[:, None] + alive * (1 - survival) ** 2 / np.where(
        known, until_then, 1
    )
    return np.where(known, errors.mean(0), np.nan)


def integrated_brier(scores: NDArray[np.float64], at: Times) -> float:
    """Mean over time of Brier scores (T,), between the first and the last that is defined."""
    known = ~np.isnan(scores)
    if known.sum() < 2:
        return float(scores[known][0]) if known.any() else float("nan")
    span = at[known][-1] - at[known][0]
    return float(np.trapezoid(scores[known], at[known]) / span)


def log_rank(times: Times, events: Events, group: NDArray[np.int64]) -> float:
    """Two-sided p that the hazards of groups (S,), numbered from 0, are equal: Mantel, 1966.

    1 where no event tells them apart.
    """
    groups = int(group.max()) + 1
    member = group[:, None] == np.arange(groups)
    gap, variance = np.zeros(groups), np.zeros((groups, groups))
    for time in np.unique(times[events]):
        there, died = (times >= time)[:, None] & member, (events & (times == time))[:, None] & member
        n, d = int(there.sum()), int(died.sum())
        share = there.sum(0) / n
        gap += died.sum(0) - d * share
        if n > 1:
            variance += d * (n - d) / (n - 1) * (np.diag(share) - np.outer(share, share))
    rank = int(np.linalg.matrix_rank(variance))
    return float(chi2.sf(gap @ np.linalg.pinv(variance) @ gap, rank)) if rank else 1.0
