"""The baseline every head must beat: logistic regression on the mean embedding of a slide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def linear_probe(
    means: NDArray[np.float64], targets: NDArray[np.int64], fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Out-of-fold probabilities (S, C) of a linear probe, each fold predicted by the others.

    Args:
        means: (S, D) mean embedding of each slide.
        targets: (S,) class index; every class occurs outside each fold.
        fold: (S,) the fold that holds each slide out.
    """
    probabilities = np.zeros((len(targets), int(targets.max()) + 1))
    for number in np.unique(fold):
        held_out = fold == number
        probabilities[held_out] = probe(means[~held_out], targets[~held_out], means[held_out])
    return probabilities


def probe(
    means: NDArray[np.float64], targets: NDArray[np.int64], asked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probabilities (A, C) of slides with mean embeddings (A, D), learned from others (S, D) and (S,)."""
    # balanced: the heads weigh classes the same way.
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    return np.asarray(model.fit(means, targets).predict_proba(asked))
