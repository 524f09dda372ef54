"""Text from file names, made safe to show."""

from __future__ import annotations


def visible(text: str) -> str:
    """Text on one line, without what would steer a terminal or hide in it: such characters become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: str) -> str:
    """A name as valid Unicode: bytes of a file name that are not UTF-8 become backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
