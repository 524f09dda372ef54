"""One configuration from the encoder card, a YAML file, flags and --set, in this order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..cohort.config import VOLUME_PATCH, RunConfig
from ..errors import UsageError
from ..features.encoder import best_precision, card_of
from ..stain.reference import reference
from ..tiling.spec import PatchSpec

Settings = dict[str, Any]


def resolve(
    file: Path | None, flags: Mapping[str, Any], assignments: Sequence[str], device: str = "auto"
) -> RunConfig:
    """The resolved configuration.

    Args:
        file: YAML with the keys of `RunConfig`, or a run folder's slidestream.yaml.
        flags: dotted keys with the values given on the command line; None where not given.
        assignments: `a.b=c` texts, values read as YAML.
        device: where it will be computed: decides what the precision "auto" is.

    Raises:
        UsageError: an unknown key, the nearest known one named, or a value of the wrong type.
    """
    settings = _from_file(file) if file else {}
    for key, value in flags.items():
        if value is not None:
            _put(settings, key, value)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment} has no value.", "Write --set patch.overlap=0.5.")
        _put(settings, key.strip(), yaml.safe_load(text))
    card = card_of(str(settings.get("encoder", RunConfig().encoder)))
    patch = {"size_px": card.patch_px} | ({"spacing": card.spacings[0]} if card.spacings else {})
    settings["patch"] = PatchSpec().to_dict() | patch | settings.get("patch", {})
    settings["volume"] = VOLUME_PATCH.to_dict() | settings.get("volume", {})
    if settings.get("precision") == "auto":
        settings["precision"] = best_precision(card, device)
    settings["stain"] = _with_reference(settings.get("stain", {}), card.stain)
    return RunConfig.from_dict(settings)


def _with_reference(stain: Settings | None, of_card: str | None) -> Settings | None:
    """What is asked of the stain, or else by the card, with the built-in target unless there is another."""
    method = "none" if stain is None else stain.get("method") or of_card
    if (method is None and not stain) or method == "none":
        return None
    if method is None:
        raise UsageError("No stain method is named.", "Add --stain macenko, for example.")
    return {"target": reference(str(method)).to_dict()} | (stain or {}) | {"method": method}


def _from_file(path: Path) -> Settings:
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"{path} cannot be read.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML.") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} does not hold settings.")
    found = document.get("config", document)
    return dict(found) if isinstance(found, dict) else {}


def _put(settings: Settings, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        inner = settings[name] = {} if settings.get(name) is None else settings[name]
        if not isinstance(inner, dict):
            raise UsageError(f"{key} is not a setting: {name} has none below it.")
        settings = inner
    settings[last] = value
