"""Where the slices of a DICOM series lie: order and affine from positions, never from numbers or names.

Geometry as in DICOM PS3.3, C.7.6.2 (Image Plane Module).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadGeometry, UnsupportedFormat
from .header import SliceHeader
from .pixels import is_decodable
from .stack import Affine

GAP_MM = 0.01
GAP_FRACTION = 0.01
COSINE = 1e-3
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def check_slices(headers: Sequence[SliceHeader]) -> None:
    """Refuse what is no stack of equal, placed, grey slices of one modality.

    Raises:
        UnsupportedFormat: not CT or MR, colour, multi-frame, or values that are not linear.
        BadGeometry: a slice without a place, or slices that differ in size, spacing or direction.
    """
    for header in headers:
        _check_pixels(header)
    for name in ("modality", "rows", "columns", "photometric"):
        found = sorted({str(getattr(header, name)) for header in headers})
        if len(found) > 1:
            raise BadGeometry(f"The slices of one series differ in {name}: {', '.join(found[:5])}.")
    for name, tolerance in (("pixel_spacing", 1e-4), ("orientation", COSINE)):
        if np.ptp([getattr(header, name) for header in headers], axis=0).max() > tolerance:
            raise BadGeometry(f"The slices of one series differ in {name.replace('_', ' ')}.")
    row, column = _directions(headers[0])
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 10 * COSINE:
        raise BadGeometry("The direction cosines of rows and columns are not at right angles.")


def place(headers: Sequence[SliceHeader]) -> tuple[list[SliceHeader], Affine]:
    """Slices in the order of their position along the slice normal, and voxel index -> mm (RAS).

    Raises:
        BadGeometry: two slices at one position, or a gap that differs from the others by more than
            1 % and 0.01 mm (a missing slice).
    """
    row, column = _directions(headers[0])
    normal = np.cross(row, column)
    ordered = sorted(headers, key=lambda header: float(normal @ np.array(header.position)))
    positions = np.array([header.position for header in ordered], dtype=np.float64)
    if len(ordered) > 1:
        _check_gaps(ordered, positions @ normal)
        step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    else:
        step = normal * _thickness(ordered[0])
    between_rows, between_columns = ordered[0].pixel_spacing  # type: ignore[misc]
    affine = np.eye(4)
    affine[:3] = np.stack([row * between_columns, column * between_rows, step, positions[0]], axis=1)
    return ordered, LPS_TO_RAS @ affine


def _check_pixels(header: SliceHeader) -> None:
    name = header.path.name
    checks: list[tuple[Any, str]] = [
        (header.modality in ("CT", "MR"), f"modality {header.modality}, neither CT nor MR"),
        (header.frames == 1, f"{header.frames} frames in one file (enhanced or multi-frame DICOM)"),
        (header.samples == 1, f"{header.samples} samples per pixel, not one grey value"),
        (header.photometric in ("MONOCHROME1", "MONOCHROME2"), "colour pixels, not grey values"),
        (not header.has_lookup, "intensities behind a lookup table"),
        (1 <= header.bits <= 32, f"{header.bits} bits per value"),
        (is_decodable(header.syntax), f"the transfer syntax {_uid(header.syntax)}, which is not supported"),
        (
            header.modality != "CT" or None not in (header.slope, header.intercept),
            "CT values without a rescale slope and intercept, so not in Hounsfield units",
        ),
    ]
    for holds, found in checks:
        if not holds:
            raise UnsupportedFormat(f"{name} has {found}.")
    if header.position is None or header.orientation is None or header.pixel_spacing is None:
        raise BadGeometry(f"{name} lacks its position, orientation or pixel spacing.")


def _directions(header: SliceHeader) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cosines = np.asarray(header.orientation, dtype=np.float64)
    return cosines[:3], cosines[3:]


def _check_gaps(ordered: list[SliceHeader], along: NDArray[np.float64]) -> None:
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    for i, gap in enumerate(gaps):
        between = f"between {ordered[i].path.name} and {ordered[i + 1].path.name}"
        if gap < GAP_MM:
            raise BadGeometry(
                f"Two slices lie at one position, {between}.",
                "Keep one of them; a series over time or of several echoes is not one volume.",
            )
        if abs(gap - usual) > max(GAP_MM, GAP_FRACTION * usual):
            raise BadGeometry(
                f"The gap {between} is {gap:.3f} mm where {usual:.3f} mm is usual: a slice is missing.",
                "Export the whole series again.",
            )


def _uid(syntax: str) -> str:
    """A syntax worth showing: standard ones only, as a damaged header may hold anything."""
    return syntax if re.fullmatch(r"1\.2\.840\.10008[.0-9]{1,20}", syntax) else "unknown"


def _thickness(header: SliceHeader) -> float:
    if not header.thickness:
        raise BadGeometry(f"{header.path.name} is alone and names no slice thickness.")
    return header.thickness
