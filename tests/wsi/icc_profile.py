"""A colour profile written byte by byte, and what it does to a colour by the formulas of its standard."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

GAMMA = 563 / 256
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
"""Columns: red, green and blue of Adobe RGB (1998) in XYZ, adapted to D50 (annex C of its specification)."""

SRGB = np.array([[0.43607, 0.38506, 0.14308], [0.22250, 0.71688, 0.06062], [0.01393, 0.09710, 0.71417]])
"""The same of sRGB (Lindbloom, sRGB to XYZ, D50)."""


def wide_profile() -> bytes:
    """Adobe RGB (1998) as a matrix profile of version 2 (ICC.1:2001-04, clause 6)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(GAMMA * 256)) + bytes(2)
    text = b"text" + bytes(4) + b"none\0" + bytes(3)
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(79 + 3)
    tags = {b"desc": name, b"cprt": text, b"wtpt": _xyz([0.9642, 1.0, 0.8249])}
    for letter, column in zip((b"r", b"g", b"b"), ADOBE.T, strict=True):
        tags |= {letter + b"XYZ": _xyz(column), letter + b"TRC": curve}
    place, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for signature, value in tags.items():
        table += signature + struct.pack(">II", place + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    kinds = struct.pack(">I4s4s4s12x4s28x", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = struct.pack(">I4x", place + len(body)) + kinds + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + body


def _xyz(values: object) -> bytes:
    fixed = np.round(np.asarray(values) * 65536).astype(int)
    return b"XYZ " + bytes(4) + struct.pack(">3i", *map(int, fixed))


def in_srgb(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colours (..., 3) of that profile as sRGB 0 to 255, relative colorimetric; out of gamut is cut off."""
    linear = (pixels / 255.0) ** GAMMA @ ADOBE.T @ np.linalg.inv(SRGB).T
    linear = linear.clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(255 * curved)
