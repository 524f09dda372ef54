"""Slides that OpenSlide decodes: the first choice."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from openslide import OpenSlide, OpenSlideError, OpenSlideUnsupportedFormatError
from PIL.ImageCms import PyCMSError

from ..errors import ReadFailed, UnsupportedFormat
from .levels import make_levels
from .reader import Facts, LevelBox, Rgba, parse_number, parse_power

DAMAGED = b"damaged"
"""In place of a profile that is there and cannot be read."""


class OpenSlideReader:
    """A `Reader` over one OpenSlide handle that is replaced after a failed read.

    A handle stays in error for every thread once one read on it has failed, so a failure does not
    say whose fault it is. Each failed read is repeated, one at a time, on a fresh handle that no
    other thread can see yet: if that fails too, this very box cannot be decoded.
    """

    def __init__(self, path: Path, derived: bool = False) -> None:
        """Opens the file; `derived`: see `Facts`.

        Raises:
            UnsupportedFormat: OpenSlide does not read it.
        """
        self._path = path
        self._repair = threading.Lock()
        self._handle: OpenSlide | None = _open(path)
        self._facts = replace(_facts(self._handle), derived=derived)
        self._scales = tuple(float(d) for d in self._handle.level_downsamples)

    @property
    def facts(self) -> Facts:
        return self._facts

    def read(self, box: LevelBox) -> Rgba:
        handle = self._handle
        if handle is None:
            raise ReadFailed("The slide was closed.")
        try:
            return self._region(handle, box)
        except OpenSlideError:
            return self._retry(box)

    def start(self, box: LevelBox) -> tuple[float, float]:
        """OpenSlide takes whole level-0 px only, up to half of one away from the wanted level px.

        It then blends neighbours, so the pixels are true but shifted by that fraction.
        """
        scale = self._scales[box.level]
        x, y = self._corner(box)
        return x / scale, y / scale

    def close(self) -> None:
        """Dropped, not closed: a thread that still reads keeps the handle alive until it is done."""
        with self._repair:
            self._handle = None

    def _corner(self, box: LevelBox) -> tuple[int, int]:
        """Level-0 px; rounded down at the far border, beyond which blending would fade to transparent."""
        scale, (w, h) = self._scales[box.level], self._facts.levels[box.level].size
        x, y = box.x * scale, box.y * scale
        return (
            math.floor(x) if box.x + box.width >= w else round(x),
            math.floor(y) if box.y + box.height >= h else round(y),
        )

    def _region(self, handle: OpenSlide, box: LevelBox) -> Rgba:
        return np.asarray(handle.read_region(self._corner(box), box.level, (box.width, box.height)))

    def _retry(self, box: LevelBox) -> Rgba:
        with self._repair:
            if self._handle is None:
                raise ReadFailed("The slide was closed.")
            try:
                fresh = _open(self._path)
                pixels = self._region(fresh, box)
            except (OpenSlideError, UnsupportedFormat):
                # The shared handle stays in error and the next read comes here again. The decoder's
                # own words are dropped: they may quote the file's header.
                where = f"{box.width} x {box.height} px at ({box.x}, {box.y})"
                raise ReadFailed(f"Level {box.level}, {where} cannot be decoded.") from None
            self._handle = fresh
            return pixels


def _open(path: Path) -> OpenSlide:
    try:
        return OpenSlide(path)
    except (OpenSlideError, OpenSlideUnsupportedFormatError, OSError):
        raise UnsupportedFormat(
            f"A {OpenSlide.detect_format(path) or 'foreign'} file that OpenSlide cannot read: "
            "damaged, incomplete or of a variety it does not know.",
            "Copy it again with all its companion files, or convert it to a tiled, pyramidal TIFF.",
        ) from None


def _facts(handle: OpenSlide) -> Facts:
    properties = handle.properties
    return Facts(
        format=properties.get("openslide.vendor", "unknown"),
        levels=make_levels(handle.level_dimensions),
        mpp=(properties.get("openslide.mpp-x"), properties.get("openslide.mpp-y")),
        bounds=_bounds(properties, handle.dimensions),
        objective_power=parse_power(properties.get("openslide.objective-power")),
        icc=_profile(handle),
    )


def _profile(handle: OpenSlide) -> bytes:
    """Damaged ones are told from none only where one is asked for."""
    if "openslide.icc-size" not in handle.properties:
        return b""
    try:
        profile = handle.color_profile
        return profile.tobytes() if profile else b""
    except (OSError, OpenSlideError, PyCMSError):
        return DAMAGED


def _bounds(properties: Mapping[str, str], size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """The scanned part (x, y, width, height), None unless the file states one that fits the slide."""
    values = [
        parse_number(properties.get(f"openslide.bounds-{key}")) for key in ("x", "y", "width", "height")
    ]
    x, y, width, height = (math.nan if value is None else value for value in values)
    fits = 0 <= x < x + width <= size[0] and 0 <= y < y + height <= size[1]
    return (x, y, width, height) if fits else None
