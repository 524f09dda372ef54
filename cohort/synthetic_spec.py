"""What a synthetic cohort is made of: its size, and who is who in it."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..spec import Spec

GRADES = ("low", "high")
SCANNER_NAMES = ("A", "B")
SMALLEST_SIDE = 1024


@dataclass(frozen=True)
class CohortSpec(Spec):
    """A cohort that can be drawn again from these numbers alone.

    Attributes:
        slides: how many; grades and scanners are balanced at every multiple of four.
        side_px: side of every square slide at full resolution, in px, at least 1024.
        seed: of everything random.
    """

    slides: int = 24
    side_px: int = 8000
    seed: int = 0

    def __post_init__(self) -> None:
        checks = [
            (self.slides >= 1, f"number of slides {self.slides} must be at least 1"),
            (self.side_px >= SMALLEST_SIDE, f"side {self.side_px} must be at least {SMALLEST_SIDE} px"),
            (self.seed >= 0, f"seed {self.seed} must not be negative"),
        ]
        for holds, message in checks:
            if not holds:
                raise UsageError(f"The {message}.")


@dataclass(frozen=True)
class SlideRow:
    """One row of the labels table.

    Attributes:
        slide: stem of the slide's file.
        patient: whom it was taken from; all slides of a patient have one grade.
        label: "low" or "high".
        scanner: "A" or "B".
    """

    slide: str
    patient: str
    label: str
    scanner: str


def cohort_rows(spec: CohortSpec) -> tuple[SlideRow, ...]:
    """Every slide of the cohort, in order.

    Grades alternate, scanners alternate within a grade, and of every four slides of a grade the last two
    belong to one patient: 24 slides of 18 patients.
    """
    return tuple(_row(index) for index in range(spec.slides))


def _row(index: int) -> SlideRow:
    grade, nth = index % 2, index // 2
    patient = 3 * (nth // 4) + min(nth % 4, 2)
    return SlideRow(
        slide=f"slide-{index + 1:02d}",
        patient=f"patient-{2 * patient + grade + 1:02d}",
        label=GRADES[grade],
        scanner=SCANNER_NAMES[nth % 2],
    )
