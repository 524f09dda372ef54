"""What the heads of a plan say of one target, of slides that they held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import Calibration, OutOfFold, calibrate, temper
from .intervals import Residuals
from .judged import judge
from .metrics import Judged
from .outcomes import Known

Answers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Said:
    """Answers to one target as the heads gave them.

    Attributes:
        patients: (S,) patient of each slide.
        known: of these slides.
        each: (H, S, A) of each head, NaN where it did not hold a slide out.
        repeats: (H,) heads with one number hold each slide out at most once.
        stopping: by the number of a head that is alone in its repeat, (V, A) what it says of the slides that
            it stopped by, and what is known of them.
    """

    patients: Sequence[str]
    known: Known
    each: Answers
    repeats: NDArray[np.int64]
    stopping: Mapping[int, tuple[Answers, Known]]

    def mean(self) -> Answers:
        """(S, A) over the heads that held each slide out."""
        return np.asarray(np.nanmean(self.each, axis=0))

    def judged(self, answers: Answers) -> Judged:
        """Answers (S, A) beside the truth."""
        return judge(self.known, self.patients, answers, self.known.outcome.target.ordered)

    def out_of_fold(self) -> OutOfFold:
        """Of a target with classes, the slides whose class is known."""
        rows = np.flatnonzero(self.known.rows)
        stopping = {
            head: (said[known.rows], _indices(known)) for head, (said, known) in self.stopping.items()
        }
        return OutOfFold(
            [self.patients[row] for row in rows.tolist()],
            _indices(self.known),
            self.each[:, rows],
            self.repeats,
            stopping,
        )


@dataclass(frozen=True, eq=False)
class Answered:
    """Answers to one target, calibrated where that is possible, beside those of a linear probe.

    Attributes:
        said: as the heads gave them.
        each: (H, S, A) calibrated by other folds.
        calibration: of classes, temperatures; of a number, its errors; None of others.
        probe: (S, A) out of fold.
    """

    said: Said
    each: Answers
    calibration: Calibration | Residuals | None
    probe: Answers

    @property
    def answers(self) -> Answers:
        """(S, A) calibrated, the mean over the heads that held each slide out."""
        return np.asarray(np.nanmean(self.each, axis=0))

    def models(self) -> dict[str, Judged]:
        """What there is to be judged: the heads, uncalibrated too where that differs, and the probe."""
        found = {"head": self.answers, "linear_probe": self.probe}
        if isinstance(self.calibration, Calibration):
            found["head_uncalibrated"] = self.said.mean()
        return {name: self.said.judged(answers) for name, answers in found.items()}


def answer(said: Said, probed: Answers) -> Answered:
    """Calibrate what the heads said; `probed` (S, A) are the answers of the linear probe."""
    target = said.known.outcome.target
    if target.has_classes:
        kept = calibrate(said.out_of_fold())
        pairs = zip(said.each, kept.fold_temperatures, strict=True)
        return Answered(said, np.stack([temper(p, t) for p, t in pairs]), kept, probed)
    if target.task == "regression":
        rows = said.known.rows
        errors = (said.mean() - said.known.truth)[rows, 0]
        return Answered(said, said.each, Residuals.of(~np.isnan(said.each[:, rows, 0]), errors), probed)
    return Answered(said, said.each, None, probed)


def _indices(known: Known) -> NDArray[np.int64]:
    """Class indices of the slides where they are known."""
    return np.asarray(known.truth[known.rows, 0], dtype=np.int64)
