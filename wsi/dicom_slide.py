"""A DICOM slide from one of its instances: are all there, are they whole, and who reads them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import Truncated, UnsupportedFormat
from .dicom_codecs import undecodable
from .dicom_files import COPY_ALL, levels_of, not_a_slide, read_instance
from .dicom_frames import END
from .dicom_header import Header, read_header
from .dicom_reader import DicomReader
from .openslide_reader import OpenSlideReader
from .reader import Reader
from .tiff_facts import CONVERT

log = logging.getLogger(__name__)

RAW = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
TAIL = 1 << 16
"""Bytes at the end of a file in which the end of its frames is looked for; little may follow it."""

BEHIND = (b"\xfa\xff", b"\xfc\xff")
"""Groups of the tags that may follow: signatures and padding."""

FIELD_TOLERANCE = 0.05

Level = list[Header]
"""The parts of one level."""


def open_dicom(path: Path) -> Reader:
    """The reader of the slide that one of its instances belongs to: OpenSlide, else our own.

    Raises:
        UnsupportedFormat: no slide, not bright-field, coded in a way nobody decodes, or a part of it is
            not there.
        Truncated: a file of it is damaged or ends too early.
    """
    members = levels_of(path)
    if not members:
        found = read_instance(path)
        if found and (found.flavour or not found.whole_slide):
            raise not_a_slide(found)
        raise Truncated("A DICOM file whose header is damaged.", "Copy or export it again.")
    levels = _levels([read_header(member) for member in members])
    for level in levels:
        _check_whole(level)
    derived = all(member.resampled for member in members)
    try:
        return OpenSlideReader(levels[0][0].path, derived)
    except UnsupportedFormat:
        log.debug("Read frame by frame: a DICOM slide that OpenSlide refuses.")
    for problem in (undecodable(header) for level in levels for header in level):
        if problem:
            raise UnsupportedFormat(f"A DICOM slide in {problem}.", CONVERT)
    return DicomReader(levels, derived)


def _levels(headers: Sequence[Header]) -> list[Level]:
    """The finest first, the parts of each in order.

    Raises:
        UnsupportedFormat: two levels of one size, or of different fields.
    """
    groups: dict[str, Level] = {}
    for header in sorted(headers, key=lambda header: header.first):
        groups.setdefault(header.whole, []).append(header)
    levels = sorted(groups.values(), key=lambda parts: parts[0].size, reverse=True)
    firsts = [parts[0] for parts in levels]
    if len({header.size for header in firsts}) < len(levels) or not all(
        _same_field(firsts[0], header) for header in firsts
    ):
        raise UnsupportedFormat(
            "A DICOM series with several images that are not one pyramid (scans, channels or focal planes).",
            "Put the instances of the one wanted into a folder of their own.",
        )
    return levels


def _same_field(one: Header, other: Header) -> bool:
    """Whether two levels show a field of the same size, as far as they say; a level may be padded."""
    return all(
        a is None or b is None or abs(n * a - m * b) <= FIELD_TOLERANCE * n * a
        for n, a, m, b in zip(one.size, one.mpp, other.size, other.mpp, strict=True)
    )


def _check_whole(level: Level) -> None:
    """Whether all parts and frames of a level are there, and every file has its end.

    Raises:
        UnsupportedFormat: a part of it is in no file here.
        Truncated: a file ends too early.
    """
    parts, there = level[0].parts, sum(header.frames for header in level)
    files = f"{len(level)} of {max(parts, len(level) + 1)} files"
    counted = all(header.first == sum(h.frames for h in level[:i]) for i, header in enumerate(level))
    if len(level) < parts or not counted:
        raise UnsupportedFormat(f"A DICOM slide of which {files} of a level are there.", COPY_ALL)
    if level[0].full and there < level[0].tiles:
        raise Truncated(f"A DICOM slide with {there} of {level[0].tiles} frames of a level.", COPY_ALL)
    for header in level:
        if not _has_end(header):
            raise Truncated("A DICOM slide of which a file ends before its pixels do.", COPY_ALL)


def _has_end(header: Header) -> bool:
    """Whether the pixels reach their end: by their number if they are raw, else by the mark behind them."""
    if header.syntax in RAW:
        return header.path.stat().st_size > header.frames * header.tile[0] * header.tile[1] * 3
    try:
        with open(header.path, "rb") as file:
            file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            _, end, rest = file.read().rpartition(END + bytes(4))
    except OSError:
        return False
    # Elsewhere the mark ends a sequence of the header, and smaller tags follow.
    return bool(end) and (not rest.strip(b"\0") or rest.startswith(BEHIND))
