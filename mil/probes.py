"""The baseline every head must beat: a linear model of the mean embedding of a slide, by kind of target.

Logistic regression of classes and of each label; ridge regression of a number, its strength chosen by
leave-one-out; for survival Cox's proportional hazards with a ridge.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .baseline import probe
from .outcomes import Known
from .survival import baseline_hazard, cox_loss

STRENGTHS = np.logspace(-1, 5, 13)

Matrix = NDArray[np.float64]


def probe_target(known: Known, means: Matrix, asked: Matrix) -> Matrix:
    """Answers (A, size) for slides with mean embeddings (A, D), learned from others.

    Args:
        known: of S slides; those of which nothing is known teach nothing.
        means: (S, D) of these slides.
        asked: (A, D).
    """
    target, rows = known.outcome.target, known.rows
    truth, x = known.truth[rows], means[rows]
    if target.has_classes:
        return probe(x, truth[:, 0].astype(np.int64), asked)
    if target.task == "labels":
        return np.stack([_label(x, column, asked) for column in truth.T], axis=1)
    if target.survives:
        return _survival(x, truth, (asked, np.array(known.outcome.times)))
    model = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS)).fit(x, truth[:, 0])
    return np.asarray(model.predict(asked))[:, None]


def ridge_cox(x: Matrix, times: Matrix, events: NDArray[np.bool_]) -> Matrix:
    """(D,) coefficients of the log hazard of standardised features (S, D).

    The ridge is D / 2 times the sum of their squares: log hazard ratios of about 1 are expected in all,
    however many features share them. Verweij and van Houwelingen, 1994.
    """
    # Coefficients lie in the span of the slides, which is small.
    left, scale, right = np.linalg.svd(x, full_matrices=False)
    inside = torch.from_numpy(left * scale)
    known = torch.from_numpy(times), torch.from_numpy(events)

    def loss(weights: Matrix) -> tuple[float, Matrix]:
        asked = torch.from_numpy(weights).requires_grad_()
        fit = cox_loss(inside @ asked, *known) * events.sum()
        value = fit + x.shape[1] / 2 * (asked**2).sum()
        (slope,) = torch.autograd.grad(value, asked)
        return value.item(), slope.numpy()

    found = minimize(loss, np.zeros(len(scale)), jac=True, method="L-BFGS-B", options={"gtol": 1e-8})
    return np.asarray(found.x @ right)


def _label(x: Matrix, column: Matrix, asked: Matrix) -> Matrix:
    known = ~np.isnan(column)
    return probe(x[known], column[known].astype(np.int64), asked)[:, 1]


def _survival(x: Matrix, truth: Matrix, wanted: tuple[Matrix, Matrix]) -> Matrix:
    asked, at = wanted
    scaler = StandardScaler().fit(x)
    times, events = truth[:, 0], truth[:, 1] == 1
    weights = ridge_cox(scaler.transform(x), times, events)
    seen = torch.from_numpy(scaler.transform(x) @ weights), torch.from_numpy(times), torch.from_numpy(events)
    hazard = baseline_hazard(*seen, torch.from_numpy(at)).numpy()
    return np.asarray(np.exp(-np.exp(scaler.transform(asked) @ weights)[:, None] * hazard))
