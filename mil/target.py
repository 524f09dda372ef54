"""What a head is asked to predict: a column of the labels, and what its values mean."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..spec import Spec

CLASSES = ("classes", "corn", "link")
SURVIVAL = ("cox", "hazard")
TASKS = (*CLASSES, "regression", "labels", *SURVIVAL)
TAKEN = ("slide", "patient", "fold")
"""Columns of every table of predictions."""


@dataclass(frozen=True)
class Target(Spec):
    """One thing to be predicted.

    Attributes:
        name: of it; but for labels, also of the column.
        task: "classes" without an order; "corn" or "link", grades in order; "regression", a number;
            "labels", each of which a slide has or has not; "cox" or "hazard", a time to an event, by
            proportional hazards or by intervals.
        more: columns besides: the one that says whether the event was seen, or those of the labels.
    """

    name: str = "label"
    task: str = "classes"
    more: tuple[str, ...] = ()

    @staticmethod
    def parse(text: str) -> Target:
        """The target that NAME[:TASK[:COLUMN+...]] asks for; labels without columns are named by NAME, as
        in er+pr:labels.

        Raises:
            UsageError: it asks for none.
        """
        parts = text.split(":")
        if len(parts) > 3:
            raise UsageError(f"{text} is no target.", "Use NAME, NAME:TASK or NAME:TASK:COLUMN+COLUMN.")
        name, task, more = (*parts, "", "")[:3]
        named = more or (name if task == "labels" else "")
        return Target(name, task or "classes", tuple(named.split("+")) if named else ())

    @property
    def text(self) -> str:
        """What `parse` reads as this target."""
        more = "+".join(self.more)
        if self.task == "labels" and more == self.name:
            return f"{self.name}:labels"
        return ":".join(filter(None, (self.name, self.task, more)))

    @property
    def has_classes(self) -> bool:
        return self.task in CLASSES

    @property
    def ordered(self) -> bool:
        """Whether its classes are grades in order."""
        return self.task in ("corn", "link")

    @property
    def survives(self) -> bool:
        return self.task in SURVIVAL

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the labels, where its values stand."""
        if self.task == "labels":
            return self.more
        return (self.name, *self.more)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UsageError(f"There is no task {self.task!r}.", f"Known tasks: {', '.join(TASKS)}.")
        if not self.name or not all(self.columns) or set(self.columns) & set(TAKEN):
            raise UsageError(
                f"A target cannot be read from the columns {', '.join(self.columns) or 'without a name'}.",
                f"Name a column of the labels other than {', '.join(TAKEN)}.",
            )
        if len(set(self.columns)) < len(self.columns):
            raise UsageError(f"Target {self.name} names a column twice.", "Name each once.")
        if self.survives and len(self.more) != 1:
            raise UsageError(
                f"Target {self.name} needs the column that says whether the event was seen.",
                f"Write {self.name}:{self.task}:EVENT.",
            )
        if self.more and not (self.survives or self.task == "labels"):
            raise UsageError(f"Target {self.name}:{self.task} is read from one column.", "Name no others.")


def require_distinct(targets: tuple[Target, ...]) -> None:
    """Refuse two targets of one name.

    Raises:
        UsageError: the name is given.
    """
    names = [target.name for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two targets are called {name}.", "Name every target once.")
