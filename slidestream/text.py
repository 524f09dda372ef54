"""Text from file names, made safe to show."""

from __future__ import annotations


def visible(text: str) -> str:
    """Text on one line, without what would steer a terminal or hide in it: such characters become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
