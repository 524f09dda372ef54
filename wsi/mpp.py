"""Microns per pixel: taken from the user or the file, checked, never guessed."""

from __future__ import annotations

import math

from ..errors import MppImplausible, MppMissing
from .reader import parse_number

FINEST_UM = 0.05
COARSEST_UM = 20.0
MAX_ANISOTROPY = 0.10
FIX = "Give the slide's own value with --slide-mpp or the manifest column mpp."

MppInput = float | tuple[float, float] | None


def resolve_mpp(given: MppInput, found: tuple[object, object]) -> tuple[float, float]:
    """The slide's true (x, y) mpp in µm: the user's value where given, else the file's.

    Args:
        given: one number for both axes, (x, y), or None.
        found: what the file says for x and y, as read: text, number or None.

    Raises:
        MppMissing: nobody says, or not as a number.
        MppImplausible: outside 0.05 to 20 µm, or x and y more than 10 % apart.
    """
    if given is not None:
        pair = given if isinstance(given, tuple) else (given, given)
        return _checked((float(pair[0]), float(pair[1])), "The value given")
    x, y = (parse_number(value) for value in found)
    if x is None or y is None:
        raise MppMissing("The file does not say how many microns a pixel is.", FIX)
    return _checked((x, y), "The file")


def _checked(mpp: tuple[float, float], source: str) -> tuple[float, float]:
    said = f"{mpp[0]:.6g}" if mpp[0] == mpp[1] else f"{mpp[0]:.6g} x {mpp[1]:.6g}"
    if not all(math.isfinite(v) and FINEST_UM <= v <= COARSEST_UM for v in mpp):
        raise MppImplausible(
            f"{source} says {said} µm per pixel; a slide has {FINEST_UM} to {COARSEST_UM:g}.", FIX
        )
    if abs(mpp[0] - mpp[1]) > MAX_ANISOTROPY * min(mpp):
        raise MppImplausible(f"{source} says {said} µm per pixel: x and y are more than 10 % apart.", FIX)
    return mpp
