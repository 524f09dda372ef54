"""One compressed frame of a DICOM slide to its pixels: pure functions of bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ..errors import ReadFailed
from .dicom_frames import IMPLICIT
from .dicom_header import Header

Pixels = NDArray[np.uint8]


def _raw(data: bytes, header: Header) -> Any:
    width, height = header.tile
    pixels = np.frombuffer(data, np.uint8)
    if header.planar:
        return np.moveaxis(pixels.reshape(3, height, width), 0, 2)
    return pixels.reshape(height, width, 3)


def _jpeg(data: bytes, header: Header) -> Any:
    """What the header says of the colours holds, as in OpenSlide: few encoders mark RGB in the stream."""
    colours = "rgb" if header.photometric == "RGB" else "ycbcr"
    return imagecodecs.jpeg8_decode(data, colorspace=colours, outcolorspace="rgb")


def _jpegls(data: bytes, _header: Header) -> Any:
    return imagecodecs.jpegls_decode(data)


def _jpeg2000(data: bytes, _header: Header) -> Any:
    return imagecodecs.jpeg2k_decode(data)


_RGB = frozenset({"RGB"})
_JPEG = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422"})
_JPEG2000 = frozenset({"RGB", "YBR_ICT", "YBR_RCT"})
_CODECS: Mapping[str, tuple[Callable[[bytes, Header], Any], frozenset[str]]] = {
    IMPLICIT: (_raw, _RGB),
    "1.2.840.10008.1.2.1": (_raw, _RGB),
    "1.2.840.10008.1.2.4.50": (_jpeg, _JPEG),
    "1.2.840.10008.1.2.4.80": (_jpegls, _RGB),
    "1.2.840.10008.1.2.4.81": (_jpegls, _RGB),
    "1.2.840.10008.1.2.4.90": (_jpeg2000, _JPEG2000),
    "1.2.840.10008.1.2.4.91": (_jpeg2000, _JPEG2000),
}
"""By transfer syntax: the decoder, and what the samples may mean. JPEG 2000 undoes its own transform."""


def undecodable(header: Header) -> str | None:
    """What the frames are coded as if they cannot be decoded here, None if they can."""
    from pydicom.uid import UID

    if header.syntax not in _CODECS:
        name = UID(header.syntax).name
        return name if name != header.syntax else "an unknown syntax"  # which might be any text
    return None if header.photometric in _CODECS[header.syntax][1] else "another colour space than RGB"


def decode_frame(data: bytes, header: Header) -> Pixels:
    """uint8 (height, width, 3).

    Raises:
        ReadFailed: the bytes are no frame of the size that the header says.
    """
    decode, _ = _CODECS[header.syntax]
    try:
        pixels = np.asarray(decode(data, header))
    except (RuntimeError, ValueError):
        raise ReadFailed("A frame that cannot be decoded.") from None
    if pixels.shape != (header.tile[1], header.tile[0], 3) or pixels.dtype != np.uint8:
        raise ReadFailed("A frame of another size than the header says.")
    return pixels
