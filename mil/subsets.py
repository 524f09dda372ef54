"""What a head says of parts of a bag: of some patches only, and of all but one.

A head that scores each patch by itself and then sums, or takes the greatest, needs to look at the patches
only once: every part of the bag follows in closed form. The other heads are asked again for each part.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import nn

from ..errors import LimitExceeded
from .abmil import Abmil
from .bags import Bags
from .clam import Clam
from .heads import Head, lift
from .multibranch import BranchClassifier, MultiBranchAbmil
from .plain_pools import MaxPool, MeanPool

ROWS = 32768
"""Patches that are looked at together."""

MOST_ASKED = 2048
"""Patches of a bag beyond which a head without a closed form is not asked once for each of them: the work
grows with the square of their number, to four million rows here."""


class Subsets(Protocol):
    """Logits of the parts of one bag with N patches."""

    def only(self, rows: torch.Tensor) -> torch.Tensor:
        """(1, C) logits of the bag that has these patches only, ascending and at least one."""
        ...

    def without_each(self) -> torch.Tensor:
        """(N, C) logits of the bag without patch n, in row n; at least two patches.

        Raises:
            LimitExceeded: the head would have to be asked too often.
        """
        ...


def subsets_of(head: Head, bag: Bags) -> Subsets:
    """The parts of a single bag, as a head in evaluation mode sees them."""
    if isinstance(head, MaxPool):
        return _lifted(GreatestOf(head.classify(head.hidden(bag))), head, bag)
    if isinstance(head, Abmil | MultiBranchAbmil | Clam | MeanPool):
        hidden = head.hidden(bag)
        even = hidden.new_zeros(len(hidden), 1)
        scores = even if isinstance(head, MeanPool) else head.attend(hidden)
        return _lifted(SumsOf(hidden, scores, head.classify), head, bag)
    return Asked(head, bag)


def _lifted(parts: Subsets, head: Head, bag: Bags) -> Subsets:
    return Lifted(parts, head.late(bag.covariates)) if head.late else parts


class SumsOf:
    """Sums weighted by a softmax, in float64: without one patch of many thousands little changes.

    Args:
        hidden: (N, H) what is summed.
        scores: (N, K) before the softmax over the patches, a column per branch.
        classify: from sums to logits.
    """

    def __init__(self, hidden: torch.Tensor, scores: torch.Tensor, classify: nn.Module) -> None:
        self._hidden, self._scores = hidden.double(), scores.double()
        self._classify = copy.deepcopy(classify).double()
        self._branched = isinstance(classify, BranchClassifier)

    def only(self, rows: torch.Tensor) -> torch.Tensor:
        return self._logits((self._scores[rows].softmax(0).T @ self._hidden[rows])[None])

    def without_each(self) -> torch.Tensor:
        weights = self._scores.softmax(0)
        whole = weights.T @ self._hidden
        parts = zip(torch.split(weights, ROWS), torch.split(self._hidden, ROWS), strict=True)
        logits = torch.cat(
            [self._logits((whole - w[:, :, None] * h[:, None]) / (1 - w)[:, :, None]) for w, h in parts]
        )
        # Where a patch has most of the weight, the difference leaves no digits: there the rest is summed.
        everything = torch.arange(len(weights))
        for row in torch.nonzero((weights > 0.5).any(1))[:, 0].tolist():
            logits[row] = self.only(everything[everything != row])[0]
        return logits

    def _logits(self, sums: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._classify(sums if self._branched else sums[:, 0])
        return logits


class GreatestOf:
    """The greatest logit of any patch, for each class.

    Args:
        logits: (N, C) of each patch.
    """

    def __init__(self, logits: torch.Tensor) -> None:
        self._each = logits

    def only(self, rows: torch.Tensor) -> torch.Tensor:
        return self._each[rows].max(0, keepdim=True).values

    def without_each(self) -> torch.Tensor:
        greatest = self._each.topk(2, dim=0)
        values = greatest.values
        return values[:1].expand_as(self._each).scatter(0, greatest.indices[:1], values[1:])


class Lifted:
    """Parts of a bag whose covariates are added to the logits.

    Args:
        parts: without them.
        term: (1, outputs) of the bag.
    """

    def __init__(self, parts: Subsets, term: torch.Tensor) -> None:
        self._parts, self._term = parts, term

    def only(self, rows: torch.Tensor) -> torch.Tensor:
        return lift(self._parts.only(rows), self._term)

    def without_each(self) -> torch.Tensor:
        return lift(self._parts.without_each(), self._term)


class Asked:
    """Any head, asked again for each part.

    Args:
        head: in evaluation mode.
        bag: the single bag.
    """

    def __init__(self, head: Head, bag: Bags) -> None:
        self._head, self._bag = head, bag

    def only(self, rows: torch.Tensor) -> torch.Tensor:
        part = self._bag.parts(rows, torch.tensor([0, len(rows)]))
        logits: torch.Tensor = self._head(part).logits
        return logits

    def without_each(self) -> torch.Tensor:
        count = len(self._bag.features)
        if count > MOST_ASKED:
            raise LimitExceeded(
                f"This head must be asked once for each patch that is left out, and the slide has {count} "
                f"patches; more than {MOST_ASKED} take too long.",
                "Use --explain single or gradients, or a head that sums patches, such as abmil.",
            )
        return torch.cat([self._head(part).logits for part in self._lacking_one(count)])

    def _lacking_one(self, count: int) -> Iterator[Bags]:
        """Bags of as many copies as fit in `ROWS`, each without the next patch."""
        for missing in torch.split(torch.arange(count), max(1, ROWS // count)):
            kept = torch.arange(count).expand(len(missing), count)
            rows = kept[kept != missing[:, None]]
            offsets = torch.arange(len(missing) + 1) * (count - 1)
            yield self._bag.parts(rows, offsets)


def of_each_alone(head: Head, bag: Bags) -> torch.Tensor:
    """(N, C) logits of the bag that is patch n alone, in row n."""
    parts = torch.split(torch.arange(len(bag.features)), ROWS)
    return torch.cat([head(bag.parts(rows, torch.arange(len(rows) + 1))).logits for rows in parts])
