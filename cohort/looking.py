"""What is asked about an input before any of its patches are read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ..identity import How
from ..radiology.choice import Asked
from ..radiology.volume import Volume
from ..wsi.identifying import identifying_kinds
from ..wsi.remote_bytes import url_of
from ..wsi.slide import Slide
from .apart import Question
from .inputs import Input
from .job import Opener


def ask_facts(item: Input, opener: Opener, scaling: Asked = "auto", how: How = "fast") -> Question:
    """The question what an input is: JSON facts, see `PatchSource.describe`."""
    return partial(_facts, item, opener, scaling, how)


def ask_identifying(item: Input) -> Question:
    """The question which kinds of identifying data a slide file holds, under the key "identifying"."""
    return partial(_identifying, item.path)


def facts_of(source: Slide | Volume, how: How) -> dict[str, Any]:
    """JSON facts about it, with its identity taken in this way."""
    return source.describe() | {"identity": source.identity(how)}


def _facts(item: Input, opener: Opener, scaling: Asked, how: How) -> dict[str, Any]:
    with opener(item, scaling) as source:
        return facts_of(source, how)


def _identifying(path: str) -> dict[str, Any]:
    if url_of(path):
        return {"identifying": ["not looked for behind a URL"]}
    return {"identifying": identifying_kinds(Path(path))}
