"""Which encoders there are, by name; knowing one loads neither torch nor timm.

Names are those of our cards, those that other packages offer under the entry point group
`slidestream.encoders` (an `EncoderCard`), `timm:NAME`, and paths of YAML cards.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import yaml

from ...errors import UsageError
from ..card import EncoderCard
from .gated import GATED
from .open import OPEN

GROUP = "slidestream.encoders"
CARD_SUFFIXES = (".yaml", ".yml")


@functools.cache
def zoo() -> dict[str, EncoderCard]:
    """Every foundation model that has a name: ours, then those of other packages.

    Raises:
        UsageError: another package offers something else, or a name that is taken.
    """
    cards = {card.name: card for card in (*GATED, *OPEN)}
    for point in entry_points(group=GROUP):
        card = _offered(point)
        if card.name in cards:
            raise UsageError(f"Package {_package(point)} offers encoder {card.name!r}, which exists already.")
        cards[card.name] = card
    return cards


def find_model(name: str) -> EncoderCard | None:
    """The card of a foundation model, if the name is one's.

    Raises:
        UsageError: a YAML card that cannot be read, or a timm name that does not exist.
    """
    if name.startswith("timm:"):
        from .timm_card import timm_card

        return timm_card(name.removeprefix("timm:"))
    if name.endswith(CARD_SUFFIXES):
        return read_card(Path(name))
    return zoo().get(name)


def read_card(path: Path) -> EncoderCard:
    """A YAML card: the fields of `EncoderCard`; a relative `file:` source counts from the card's folder.

    Raises:
        UsageError: it cannot be read, misses a field, or has an unknown one.
    """
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is no YAML card that can be read.") from error
    if not isinstance(values, dict) or not values.get("architecture"):
        raise UsageError(f"{path} is no encoder card: it names no architecture.", "See docs/encoders.md.")
    card = EncoderCard.from_dict({"revision": "", "sha256": "", "gated": False} | values)
    if card.source.startswith("file:"):
        place = path.parent / Path(card.source.removeprefix("file:")).expanduser()
        return EncoderCard.from_dict(card.to_dict() | {"source": f"file:{place}"})
    if not card.repo or not card.file:
        raise UsageError(
            f"{path}: source must be file:PATH, or hf:ORG/REPO with a file.", "See docs/encoders.md."
        )
    return card


def _offered(point: EntryPoint) -> EncoderCard:
    card = point.load()
    if not isinstance(card, EncoderCard):
        raise UsageError(f"Entry point {point.name!r} of package {_package(point)} is no EncoderCard.")
    return card


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"
