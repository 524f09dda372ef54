"""Time to an event that not everyone lives to see: losses, and survival over time.

A slide has the time of its event or, where none was seen, the time until which none was (it is censored
there). S slides have times (S,), not negative, and events (S,), True where the event was seen.
"""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def cox_loss(risk: torch.Tensor, times: torch.Tensor, events: torch.Tensor) -> torch.Tensor:
    """Negative log partial likelihood per event of log hazard ratios (S,); 0 without an event.

    Cox, 1972, "Regression models and life-tables"; events at one time as Efron, 1977. The slides of a
    training step are compared with each other only; heads trained so are still consistent: Zeng et al.,
    2024, https://arxiv.org/abs/2408.02839.
    """
    if not events.any():
        return risk.sum() * 0
    at_risk, group = _risk_sets(risk, times)
    rank, ties = _places(group[events])
    own, logs = risk[events], at_risk[events]
    # Shares of the risk set that die together: no exponential of an unbounded number.
    share = torch.zeros_like(at_risk).index_add(0, group[events], (own - logs).exp())
    return (logs + torch.log1p(-rank / ties * share[group[events]]) - own).mean()


def baseline_hazard(
    risk: torch.Tensor, times: torch.Tensor, events: torch.Tensor, at: torch.Tensor
) -> torch.Tensor:
    """(T,) cumulative hazard, at each of T times, of a slide with log hazard ratio 0: Breslow, 1974."""
    steps = (-_risk_sets(risk, times)[0]).exp() * events
    return ((times[:, None] <= at) * steps[:, None]).sum(0)


def interval_edges(times: torch.Tensor, events: torch.Tensor, intervals: int) -> torch.Tensor:
    """(K + 1,) ends of K intervals from 0 to the last event, with as many events in each.

    Raises:
        ValueError: no event.
    """
    if not events.any():
        raise ValueError("intervals need an event")
    shares = torch.linspace(0, 1, intervals + 1, dtype=times.dtype, device=times.device)
    edges = torch.quantile(times[events], shares)
    return torch.cat([torch.zeros_like(edges[:1]), edges[1:]])


def life_table(times: torch.Tensor, events: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """(K,) log-odds of an event in each interval of slides that reach it, of all slides together.

    Half an event more and half a slide without one keep them finite.
    """
    died = torch.zeros(len(edges) - 1, dtype=times.dtype, device=times.device)
    died.index_add_(0, _interval(times[events], edges), torch.ones_like(times[events]))
    # Who dies in an interval was there for all of it, as in the loss.
    there = _elapsed(times, edges)
    there[events] = (there[events] > 0).to(there.dtype)
    return torch.log(died + 0.5) - torch.log(there.sum(0) - died + 0.5)


def hazard_loss(
    logits: torch.Tensor, times: torch.Tensor, events: torch.Tensor, edges: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood per slide of logits (S, K), of an event in an interval that is reached.

    Zadeh and Schmid, 2021, https://doi.org/10.1109/TPAMI.2020.2979450. There a slide that is censored
    within an interval has survived it; here only the share of it that was seen, which is the same where
    censoring falls on the ends.
    """
    interval = _interval(times, edges)
    columns = torch.arange(len(edges) - 1, device=logits.device)
    before = (columns < interval[:, None]).to(logits.dtype)
    survived = torch.where(events[:, None], before, _elapsed(times, edges).to(logits.dtype))
    ended = logsigmoid(logits).gather(1, interval[:, None])[:, 0] * events
    return -(ended + (survived * logsigmoid(-logits)).sum(1)).mean()


def hazard_survival(logits: torch.Tensor, edges: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """(S, T) probability that there is no event until each of T times, of logits (S, K).

    Its logarithm falls evenly within an interval, and stays after the last.
    """
    return (logsigmoid(-logits) @ _elapsed(at, edges).to(logits.dtype).T).exp()


def _risk_sets(risk: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithm (S,) of the summed hazard of all who are still there at each slide's time, and the distinct
    time (S,) it has, by number, latest first."""
    order = torch.argsort(times, descending=True, stable=True)
    _, group, sizes = torch.unique_consecutive(times[order], return_inverse=True, return_counts=True)
    summed = torch.logcumsumexp(risk[order], 0)[sizes.cumsum(0) - 1]
    number = torch.empty_like(group).scatter_(0, order, group)
    return summed[number], number


def _places(group: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each member of numbered groups (E,): its place within the group, from 0, and the group's size."""
    order = torch.argsort(group, stable=True)
    _, inverse, sizes = torch.unique_consecutive(group[order], return_inverse=True, return_counts=True)
    starts = sizes.cumsum(0) - sizes
    place = torch.empty_like(group).scatter_(
        0, order, torch.arange(len(group), device=group.device) - starts[inverse]
    )
    return place, torch.empty_like(group).scatter_(0, order, sizes[inverse])


def _interval(times: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """(S,) the interval in which each time lies, its end included; what lies beyond is in the last."""
    return torch.searchsorted(edges[1:].contiguous(), times.contiguous()).clamp(max=len(edges) - 2)


def _elapsed(times: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """(S, K) share of each interval that lies before each time; one without width is over at its end."""
    starts, ends = edges[:-1], edges[1:]
    widths = ends - starts
    share = (times[:, None] - starts) / torch.where(widths > 0, widths, 1)
    return torch.where(widths > 0, share.clamp(0, 1), (times[:, None] >= ends).to(share.dtype))
