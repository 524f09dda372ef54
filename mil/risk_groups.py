"""Patients parted by predicted risk: do those who were said to die early do so?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .judged import Survived
from .survival_metrics import log_rank

NAMES = {2: ("lower risk", "higher risk"), 3: ("low risk", "middle risk", "high risk")}


@dataclass(frozen=True, eq=False)
class RiskGroups:
    """P patients in groups of about equal size.

    Attributes:
        names: of the groups, least risk first.
        group: (P,) number of each patient's group.
        times, events: (P,) of each patient.
        p: of the log-rank test between the groups.
    """

    names: tuple[str, ...]
    group: NDArray[np.int64]
    times: NDArray[np.float64]
    events: NDArray[np.bool_]
    p: float


def risk_groups(survived: Survived, count: int = 2) -> RiskGroups:
    """Cut the patients at the median of their predicted risk, or at its thirds.

    Several slides of a patient are one: the mean of their risks, the time of the first. Patients of equal
    risk are in one group.
    """
    _, first, patient = np.unique(np.asarray(survived.patients), return_index=True, return_inverse=True)
    risk = np.bincount(patient, weights=survived.risk) / np.bincount(patient)
    times, events = survived.times[first], survived.events[first]
    cuts = np.quantile(risk, np.arange(1, count) / count)
    group = np.searchsorted(cuts, risk).astype(np.int64)
    return RiskGroups(NAMES[count], group, times, events, log_rank(times, events, group))
