"""A slide: pyramid levels, true microns, pixels of any region at any spacing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadFailed, SpacingTooFine, UnsupportedFormat
from ..geometry import Region
from ..identity import How
from ..status import OK, read_one_by_one
from .batch import read_batch
from .colour import ToSrgb
from .files import identity_of
from .levels import Level
from .mpp import MppInput, resolve_mpp
from .opening import open_reader
from .overview import survey
from .reader import Reader
from .remote_bytes import url_of
from .sampling import sample
from .tiled_opening import open_remote
from .tiled_reader import TiledReader

Pixels = NDArray[np.uint8]


def open_slide(path: str | os.PathLike[str], mpp: MppInput = None) -> Slide:
    """Open a slide file, a folder that holds the DICOM instances of one slide, or a TIFF behind a URL.

    Args:
        path: the file or folder, or a URL: https://, s3://, ... (needs `slidestream[remote]`).
        mpp: the slide's own µm per pixel, one number or (x, y); None takes what the file says.

    Raises:
        InputNotFound: no such file.
        UnsupportedFormat: not a slide, or a part of it is missing; the message says what it is.
        Truncated: the file ends before its pixels do.
        MppMissing: neither the file nor the caller says how large a pixel is.
        MppImplausible: outside 0.05 to 20 µm, or x and y more than 10 % apart.
        LimitExceeded: a plain picture too large to hold in memory, or a slide larger than any.
        MissingExtra: a package that reads such URLs is not installed.
    """
    place = url_of(path) or Path(path)
    reader = open_remote(place) if isinstance(place, str) else open_reader(place)
    try:
        um = resolve_mpp(mpp, reader.facts.mpp)
        if reader.facts.derived and mpp is None:
            raise _without_base()
        return Slide(place, reader, um)
    except BaseException:
        reader.close()
        raise


class Slide:
    """A slide with a known mpp. Safe to read from several threads; a context manager.

    Label, macro and thumbnail images stored beside the pyramid are never read, and of the header
    only what `properties` lists ever leaves this class. Coordinates are level-0 px, (x, y).

    Attributes:
        path: as given to `open_slide`; a URL is a str.
        mpp: (x, y), µm per level-0 px.
    """

    def __init__(
        self, path: Path | str, reader: Reader, mpp: tuple[float, float], to_srgb: ToSrgb | None = None
    ) -> None:
        self.path = path
        self.mpp = mpp
        self._reader = reader
        self._to_srgb = to_srgb
        self._identities: dict[How, str] = {}
        self._closed = False

    @property
    def levels(self) -> tuple[Level, ...]:
        """The pyramid, level 0 first."""
        return self._reader.facts.levels

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of level 0 in px."""
        return self.levels[0].size

    @property
    def spacing(self) -> tuple[float, float]:
        """µm per level-0 px, (x, y): another name for `mpp`."""
        return self.mpp

    @property
    def bounds(self) -> Region:
        """The scanned part where the file says so (MIRAX), else the whole extent."""
        x, y, width, height = self._reader.facts.bounds or (0.0, 0.0, *map(float, self.size))
        return Region((x, y), (width, height))

    @property
    def format(self) -> str:
        """ "aperio", "generic-tiff", "dicom", "picture", ..."""
        return self._reader.facts.format

    @property
    def properties(self) -> dict[str, str | float | int | None]:
        """All that is ever copied from the header: numbers and the scanner's vendor."""
        return {
            "vendor": self.format,
            "objective_power": self._reader.facts.objective_power,
            "level_count": len(self.levels),
            "mpp_x": self.mpp[0],
            "mpp_y": self.mpp[1],
        }

    def in_srgb(self) -> Slide:
        """The same slide with its colours taken to sRGB by its ICC profile, or as they are without one.

        Both share what is open: closing either closes both.

        Raises:
            UnsupportedFormat: the profile is damaged.
        """
        profile = self._reader.facts.icc
        return Slide(self.path, self._open(), self.mpp, ToSrgb(profile) if profile else None)

    def read(self, region: Region, out_size: tuple[int, int]) -> Pixels:
        """The region as uint8 (H, W, 3), white where nothing was scanned.

        Args:
            region: level-0 px, fractional or not; may reach over the border.
            out_size: (width, height) in px, which sets the spacing of the result.

        Raises:
            ReadFailed: a part of it cannot be decoded. The slide stays usable.
        """
        return self._coloured(np.ascontiguousarray(sample(self._open(), region, out_size).rgb))

    def read_patch(self, region: Region, out_size: tuple[int, int]) -> Pixels | None:
        """As `read`, but None where not one pixel of the region was scanned."""
        found = sample(self._open(), region, out_size)
        return self._coloured(np.ascontiguousarray(found.rgb)) if found.scanned else None

    def read_patches(self, regions: Sequence[Region], out: Pixels) -> Pixels:
        """One patch per region into `out`, uint8 (B, H, W, 3); returns the status (B,): see `PatchSource`."""
        reader = self._open()
        if not isinstance(reader, TiledReader):
            return read_one_by_one(self.read_patch, regions, out)
        status = read_batch(reader, regions, out)
        if self._to_srgb:
            for row in np.flatnonzero(status == OK):
                out[row] = self._to_srgb(out[row])
        return status

    def thumbnail(self, max_px: int) -> Pixels:
        """The whole extent from the pyramid, at most `max_px` on its longer side, uint8 (H, W, 3).

        Never larger than level 0. Unreadable parts: see `overview`.
        """
        return self._coloured(survey(self._open(), _fit(self.size, 1.0, max_px))[0])

    def overview(self, spacing_um: float, max_px: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """The whole extent at about a spacing, and which of its pixels were scanned.

        Args:
            spacing_um: wanted µm per px; never finer than level 0.
            max_px: limit of the longer side, which may make it coarser.

        Returns:
            uint8 (H, W, 3) on white, and bool (H, W), true where at least half of a pixel was
            scanned. A part that cannot be decoded takes the colour of the nearest one that can and
            counts as scanned: a bad tile amid tissue is still tissue, and the patches on it must
            be tried and reported, not left out.

        Raises:
            Unreadable: too many parts cannot be decoded.
        """
        out = tuple(s * m / spacing_um for s, m in zip(self.size, self.mpp, strict=True))
        size = _fit((out[0], out[1]), 1.0, min(max_px, max(self.size)))
        pixels, scanned = survey(self._open(), size)
        return self._coloured(pixels), scanned

    def check_spacing(self, spacing_um: float, max_upsampling: float = 0.05) -> None:
        """Refuse a patch spacing that level 0 cannot serve without inventing detail.

        Args:
            spacing_um: wanted µm per px.
            max_upsampling: how much finer than level 0 is still let through, as a fraction.

        Raises:
            SpacingTooFine: finer than that on either axis.
        """
        coarsest = max(self.mpp)
        if coarsest / spacing_um - 1 > max_upsampling + 1e-9:
            raise SpacingTooFine(
                f"Patches at {spacing_um:g} µm per pixel are finer than this slide's {coarsest:g}.",
                f"Ask for a coarser patch spacing (--mpp {coarsest:.3g} or more), or let pixels be "
                "enlarged with --allow-upsampling.",
            )

    def identity(self, how: How = "fast") -> str:
        """Hash of the content of every file that makes up the slide, see `content_identity`."""
        if how not in self._identities:
            self._identities[how] = identity_of(self.path, self.format, how)
        return self._identities[how]

    def describe(self) -> dict[str, Any]:
        """JSON facts for a store's attributes; nothing about a patient."""
        return {
            "kind": "slide",
            "format": self.format,
            "size": list(self.size),
            "spacing": list(self.spacing),
            "identity": self.identity(),
            "levels": len(self.levels),
            "objective_power": self._reader.facts.objective_power,
            "colours": "sRGB by ICC profile" if self._to_srgb else "as stored",
        }

    def close(self) -> None:
        """Release the file. Reading afterwards raises ReadFailed."""
        self._closed = True
        self._reader.close()

    def _coloured(self, pixels: Pixels) -> Pixels:
        return self._to_srgb(pixels) if self._to_srgb else pixels

    def _open(self) -> Reader:
        if self._closed:
            raise ReadFailed("The slide was closed.")
        return self._reader

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"Slide({self.format}, {self.size[0]} x {self.size[1]} px, {self.mpp[0]:g} x {self.mpp[1]:g} µm)"
        )


def _without_base() -> UnsupportedFormat:
    return UnsupportedFormat(
        "A reduced level of a slide whose full resolution is not there: coordinates would be others.",
        "Copy all instances of the series beside it; if this level is the slide, say so by "
        "giving its mpp with --slide-mpp or the manifest column mpp.",
    )


def _fit(size: tuple[float, float], scale: float, max_px: int) -> tuple[int, int]:
    """(width, height) in whole px, shrunk where needed so that the longer is at most `max_px`."""
    scale = min(scale, max_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
