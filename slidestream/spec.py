"""Frozen dataclasses that write themselves down and hash as a whole.

A cache or resume key is the digest of every field, so no field can be forgotten.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from typing import Any, Self

from .errors import UsageError


class Spec:
    """Mix-in for frozen dataclasses made of JSON values, tuples and other specs."""

    def to_dict(self) -> dict[str, Any]:
        """Every field, defaults included, as JSON values; tuples become lists."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; absent fields take their defaults.

        Raises:
            UsageError: an unknown key (the nearest known one is named) or a value of the wrong type.
        """
        hints = typing.get_type_hints(cls)
        known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in known:
                raise UsageError(f"{cls.__name__} has no setting {key!r}.", _nearest(key, known))
        try:
            return cls(**{key: _typed(hints[key], value) for key, value in values.items()})
        except (TypeError, ValueError) as error:
            raise UsageError(f"{cls.__name__} cannot be made of {values}: {error}.") from error

    def digest(self) -> str:
        """Hex sha256 of the canonical JSON of every field."""
        return json_digest(self.to_dict())


def json_digest(value: Any) -> str:
    """Hex sha256 of the canonical JSON (sorted keys, no spaces) of a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """One line per leaf that differs between two JSON values: `a.b: 1 != 2`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted({*ours, *theirs})
        return [
            line
            for key in keys
            for line in differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if ours == theirs else [f"{path}: {json.dumps(ours)} != {json.dumps(theirs)}"]


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _typed(hint: Any, value: Any) -> Any:
    """`value` as the annotated type says; raises TypeError where it does not fit."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in typing.get_args(hint):
            return None
        return _typed(next(arg for arg in typing.get_args(hint) if arg is not type(None)), value)
    if origin is tuple:
        item = typing.get_args(hint)[0]
        return tuple(_typed(item, v) for v in value)
    if isinstance(hint, type) and issubclass(hint, Spec):
        return value if isinstance(value, hint) else hint.from_dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise TypeError(f"{value!r} is not of type {hint.__name__}")
    return value
