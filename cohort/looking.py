"""What is asked about an input before any of its patches are read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ..identity import How
from ..radiology.choice import Asked
from ..radiology.identifying import identifying_kinds_of_volume
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
    """The question which kinds of identifying data a file holds, under the key "identifying"."""
    return partial(_identifying, item)


def facts_of(source: Slide | Volume, how: How) -> dict[str, Any]:
    """JSON facts about it, with its identity taken in this way."""
    return source.describe() | {"identity": source.identity(how)}


def _facts(item: Input, opener: Opener, scaling: Asked, how: How) -> dict[str, Any]:
    with opener(item, scaling) as source:
        return facts_of(source, how)


def _identifying(item: Input) -> dict[str, Any]:
    if url_of(item.path):
        return {"identifying": ["not looked for behind a URL"]}
    search = identifying_kinds_of_volume if item.kind == "volume" else identifying_kinds
    return {"identifying": search(Path(item.path))}
