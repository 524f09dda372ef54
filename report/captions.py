"""What stands below each figure."""

from __future__ import annotations

CAPTIONS = {
    "roc": "ROC curve",
    "precision-recall": "precision over recall; dotted, chance",
    "confusion": "slides by label and by the class they were given",
    "reliability": "reliability; the size of a dot is its slides",
    "decision-curve": "decision curve",
    "scatter": "predicted over true",
    "kaplan-meier": "survival, patients parted at the median of their risk",
    "kaplan-meier-thirds": "survival, patients parted at the thirds of their risk",
    "brier": "Brier score over time; dotted, of saying of all what is true of all",
}
"""By the name of its file."""
