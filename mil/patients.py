"""Several slides of one patient as one bag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch

from ..errors import UsageError
from .bags import Bags
from .cache import LoadBag
from .labels import Entry, Labels

JOIN = "|"
"""Between the slide_ids in the name of a bag."""

APART = 100_000
"""Level-0 px between two slides of a bag: much farther than patches of one slide."""


def pool_patients(labels: Labels) -> tuple[Labels, dict[str, tuple[str, ...]]]:
    """One entry per patient, named by the slides, and the slides of each such bag.

    Raises:
        UsageError: a patient whose slides have different labels.
    """
    of_patient: dict[str, list[Entry]] = defaultdict(list)
    for entry in labels.entries:
        of_patient[entry.patient].append(entry)
    for patient, entries in of_patient.items():
        found = sorted({entry.label for entry in entries})
        if len(found) > 1:
            raise UsageError(
                f"Slides of patient {patient} have different labels: {', '.join(found)}.",
                "Give a patient one label, or train with --bag slide.",
            )
    members = {JOIN.join(e.slide for e in entries): entries for entries in of_patient.values()}
    pooled = Labels.of(Entry(bag, entries[0].patient, entries[0].label) for bag, entries in members.items())
    return pooled, {bag: tuple(e.slide for e in entries) for bag, entries in members.items()}


def each_alone(labels: Labels) -> dict[str, tuple[str, ...]]:
    """Every slide as the only one of its bag."""
    return {slide: (slide,) for slide in labels.slides}


def load_pooled(members: Mapping[str, tuple[str, ...]], load: LoadBag) -> LoadBag:
    """Loads the bag of a patient from those of the slides."""
    return lambda bag: one_bag([load(slide) for slide in members[bag]])


def one_bag(slides: Sequence[Bags]) -> Bags:
    """The patches of several single bags as one bag, the slides laid out side by side, far apart."""
    if len(slides) == 1:
        return slides[0]
    coords, right = [], 0
    for slide in slides:
        placed = slide.coords - slide.coords.min(0).values
        placed[:, 0] += right
        right = int(placed[:, 0].max()) + APART
        coords.append(placed)
    return Bags.single(torch.cat([slide.features for slide in slides]), torch.cat(coords))
