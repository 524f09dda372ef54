"""Settings from a YAML file, flags and --set, in this order; those of a run begin with the encoder card."""

from __future__ import annotations

import re
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


class _Loader(yaml.SafeLoader):
    """YAML as 1.2 has it for numbers: 1e-3 is one, not a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("+-0123456789")
)


def _parsed(text: str) -> Any:
    return _Loader(text).get_single_data()


def gather(file: Path | None, part: str, flags: Mapping[str, Any], assignments: Sequence[str]) -> Settings:
    """What a file, flags and assignments set; later ones win.

    Args:
        file: YAML or JSON with settings, or a document that holds them under `part`.
        part: where the project's own documents hold them.
        flags: dotted keys with the values given on the command line; None where not given.
        assignments: `a.b=c` texts, values read as YAML.

    Raises:
        UsageError: the file cannot be read, or an assignment is none.
    """
    settings = _from_file(file, part) if file else {}
    for key, value in flags.items():
        if value is not None:
            _put(settings, key, value)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment} has no value.", "Write --set NAME=VALUE.")
        try:
            _put(settings, key.strip(), _parsed(text))
        except yaml.YAMLError as error:
            raise UsageError(f"--set {assignment} is not valid YAML.", "Quote the value.") from error
    return settings


def resolve(
    file: Path | None, flags: Mapping[str, Any], assignments: Sequence[str], device: str = "auto"
) -> RunConfig:
    """The resolved configuration.

    Args:
        file: YAML with the keys of `RunConfig`, or a run folder's slidestream.yaml.
        flags, assignments: as `gather` takes them.
        device: where it will be computed: decides what the precision "auto" is.

    Raises:
        UsageError: an unknown key, the nearest known one named, or a value of the wrong type.
    """
    settings = gather(file, "config", flags, assignments)
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


def _from_file(path: Path, part: str) -> Settings:
    try:
        document = _parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML.") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} does not hold settings.")
    found = document.get(part, document)
    return dict(found) if isinstance(found, dict) else {}


def _put(settings: Settings, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        inner = settings[name] = {} if settings.get(name) is None else settings[name]
        if not isinstance(inner, dict):
            raise UsageError(f"{key} is not a setting: {name} has none below it.")
        settings = inner
    settings[last] = value
