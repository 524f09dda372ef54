"""Which reader opens a file, and if none does: what the file is."""

from __future__ import annotations

import logging
from pathlib import Path

from openslide import OpenSlide

from ..errors import InputNotFound, Truncated, UnsupportedFormat
from .companions import check_companions
from .czi import CZI_MAGIC, czi_problem
from .dicom_files import is_dicom, volume_in
from .dicom_slide import open_dicom
from .openslide_reader import OpenSlideReader
from .picture_reader import PictureReader
from .reader import Reader
from .tiff_facts import BRIGHT_FIELD, CONVERT, PALETTE, PREMULTIPLIED, TiffFacts, inspect_tiff
from .tiff_pyramid import is_ome
from .tiffslide_reader import TiffSlideReader
from .tile_table import UnusualLayoutError
from .tiled_opening import open_pyramid, open_tiled

log = logging.getLogger(__name__)

PLAIN_TILES = frozenset({"aperio", "dicom", "generic-tiff", "philips"})
"""OpenSlide's names of the formats whose levels are grids of tiles that touch and do not overlap."""

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PICTURE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff")
OTHERS = {
    b"%PDF": "a PDF",
    b"PK\3\4": "a ZIP archive",
    b"\x1f\x8b": "gzip-compressed (perhaps a NIfTI volume)",
    b"\x89HDF": "an HDF5 file",
    b"GIF8": "a GIF",
    b"BM": "a BMP picture",
    b"RIFF": "a RIFF file (WebP, audio or video)",
}


def open_reader(path: Path) -> Reader:
    """The first reader that serves: OpenSlide, tiffslide for tiled RGB TIFFs, Pillow for pictures.

    Raises:
        InputNotFound, UnsupportedFormat, Truncated, LimitExceeded: see `open_slide`.
    """
    if not path.exists():
        raise InputNotFound(f"There is no file {path}.", "Check the path.")
    if path.is_dir():
        path = volume_in(path)
    check_companions(path)
    head = _head(path)
    facts = inspect_tiff(path) if head.startswith(TIFF_MAGIC) else None
    vendor = OpenSlide.detect_format(path)
    if vendor == "dicom" or (vendor is None and is_dicom(path)):
        return _fastest(path, open_dicom(path))
    if vendor == "generic-tiff" and facts:
        _refuse(facts.problem(), facts.fix)
    if head.startswith(CZI_MAGIC):
        _refuse(czi_problem(path), BRIGHT_FIELD)
    if vendor:
        try:
            return _fastest(path, OpenSlideReader(path))
        except UnsupportedFormat:
            if not facts:
                raise
    return _without_openslide(path, head, facts)


def _without_openslide(path: Path, head: bytes, facts: TiffFacts | None) -> Reader:
    if head.startswith(TIFF_MAGIC):
        return _open_tiff(path, facts)
    if head.startswith(PICTURE_MAGIC):
        return PictureReader(path)
    raise _what_it_is(head)


def _fastest(path: Path, reader: Reader) -> Reader:
    """The tiles decoded here where that gives OpenSlide's pixels; OpenSlide itself everywhere else."""
    if not isinstance(reader, OpenSlideReader) or reader.facts.format not in PLAIN_TILES:
        log.debug("Read by OpenSlide: a format other than plainly tiled TIFF or DICOM.")
        return reader
    nested = reader.facts.format == "generic-tiff" and is_ome(path)
    try:
        tiled = open_pyramid(path) if nested else open_tiled(path, reader.facts)
    except UnusualLayoutError as reason:
        log.debug("Read by OpenSlide: %s.", reason)
        return reader
    reader.close()
    return tiled


def _open_tiff(path: Path, facts: TiffFacts | None) -> Reader:
    if facts is None:
        raise UnsupportedFormat("A TIFF whose directories are damaged.", "Copy the file again.")
    if facts.endless:
        raise UnsupportedFormat("A TIFF whose directories form a loop or do not end.", CONVERT)
    _refuse(facts.problem(), facts.fix)
    if facts.cut:
        raise Truncated("A TIFF that ends before its last directory.", "Copy the file again.")
    if facts.kind == "NDPI":
        raise UnsupportedFormat("An NDPI file that OpenSlide cannot read.", "Copy or export it again.")
    if not facts.tiled:
        return PictureReader(path)
    if facts.photometric == PALETTE or facts.alpha == PREMULTIPLIED:
        kind = "palette" if facts.photometric == PALETTE else "premultiplied"
        raise UnsupportedFormat(f"A tiled TIFF with {kind} pixels that OpenSlide cannot read.", CONVERT)
    return TiffSlideReader(path)


def _refuse(problem: str | None, fix: str) -> None:
    if problem:
        raise UnsupportedFormat(
            f"{problem[0].upper()}{problem[1:]}; a slide has 8-bit colours in tiles.", fix
        )


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except OSError as error:
        raise InputNotFound(f"{path} cannot be opened: {error.strerror}.", "Check the permissions.") from None


def _what_it_is(head: bytes) -> UnsupportedFormat:
    """The error for a file nobody reads. Its bytes are never quoted: they may be a patient's name."""
    if not head:
        return UnsupportedFormat("An empty file.", "Copy the file again.")
    kind = next((words for magic, words in OTHERS.items() if head.startswith(magic)), None)
    return UnsupportedFormat(
        f"Not a slide: {kind or 'neither TIFF, DICOM, PNG nor JPEG'}.",
        "Leave it out; if it should be a slide, copy or export it again.",
    )
