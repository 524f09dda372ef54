"""What is asked about an input before any of its patches are read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ..radiology.choice import Asked
from ..wsi.identifying import identifying_kinds
from .apart import Question
from .inputs import Input
from .job import Opener


def ask_facts(item: Input, opener: Opener, scaling: Asked = "auto") -> Question:
    """The question what an input is: JSON facts, see `PatchSource.describe`."""
    return partial(_facts, item, opener, scaling)


def ask_identifying(item: Input) -> Question:
    """The question which kinds of identifying data a slide file holds, under the key "identifying"."""
    return partial(_identifying, Path(item.path))


def _facts(item: Input, opener: Opener, scaling: Asked) -> dict[str, Any]:
    with opener(item, scaling) as source:
        return source.describe()


def _identifying(path: Path) -> dict[str, Any]:
    return {"identifying": identifying_kinds(path)}
