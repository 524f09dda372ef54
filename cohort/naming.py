"""What inputs are called: ids that are distinct, printable, and as short as the cohort allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..text import printable
from ..wsi.remote_bytes import url_of

FURTHEST = 3


@dataclass(frozen=True)
class Candidate:
    """An input without an id yet.

    Attributes:
        path: the file to open.
        root: the folder that was named, or that of the manifest.
        kind: "slide" or "volume".
        stem: what to call it if nothing else is called so; the file's stem by default.
        name: what the manifest calls it, or empty.
        mpp: the user's, or None.
    """

    path: Path
    root: Path
    kind: str
    stem: str = ""
    name: str = ""
    mpp: float | None = None

    def called(self, level: int) -> str:
        """Its name at a level: the stem; with its folders below the root; with the root's too; whole."""
        if self.name:
            return printable(self.name)
        path = _shown(self.path)
        if level == 0:
            return printable(self.stem or _stem(path))
        # A series that is named after its folder stays so.
        place = path.parent if self.stem and self.stem == path.parent.name else path
        if level == FURTHEST or not place.is_relative_to(self.root):
            return printable(place.absolute().as_posix())
        below = place.relative_to(self.root).as_posix()
        return printable(below if level == 1 else f"{self.root.absolute().name}/{below}")


def distinct_names(candidates: Sequence[Candidate]) -> list[str]:
    """A name each; those that would share one are called by more of their path.

    Names from the manifest stay as they are, and may still be equal.
    """
    levels = [0] * len(candidates)
    while True:
        names = [candidate.called(level) for candidate, level in zip(candidates, levels, strict=True)]
        count = Counter(names)
        shared = [
            i
            for i, candidate in enumerate(candidates)
            if count[names[i]] > 1 and not candidate.name and levels[i] < FURTHEST
        ]
        if not shared:
            return names
        for i in shared:
            levels[i] += 1


def _stem(path: Path) -> str:
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def _shown(path: Path) -> Path:
    """Without what follows a question mark in a URL: it may be a key."""
    return Path(str(path).partition("?")[0]) if url_of(path) else path
