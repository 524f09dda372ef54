"""The stored values of one DICOM slice, whatever its compression.

Raw and run-length coded pixels are decoded by pydicom, all others by imagecodecs, which holds the
libraries of the formats themselves (libjpeg-turbo, CharLS, OpenJPEG; BSD licences).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array

from ..errors import ReadFailed
from .header import PARSE_ERRORS, SliceHeader

Decode = Callable[[bytes], NDArray[Any]]

RLE = "1.2.840.10008.1.2.5"
RAW = {
    "1.2.840.10008.1.2",  # implicit little endian
    "1.2.840.10008.1.2.1",  # explicit little endian
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.2",  # explicit big endian
    RLE,
}
COMPRESSED: dict[str, Decode] = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg_decode,  # baseline
    "1.2.840.10008.1.2.4.51": imagecodecs.jpeg_decode,  # extended, 12 bits
    "1.2.840.10008.1.2.4.57": imagecodecs.jpeg_decode,  # lossless
    "1.2.840.10008.1.2.4.70": imagecodecs.jpeg_decode,  # lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,  # JPEG-LS, lossless
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,  # JPEG-LS, near lossless
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,  # JPEG 2000
}
PIXEL_TAGS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
    "PixelData",
]


def is_decodable(syntax: str) -> bool:
    """Whether a transfer syntax (its UID) can be decoded."""
    return syntax in RAW or syntax in COMPRESSED


def stored_values(header: SliceHeader) -> NDArray[np.int64]:
    """The slice as stored, before any rescaling: (rows, columns).

    Raises:
        ReadFailed: damaged pixel data, or another size than the header's.
    """
    try:
        tags = pydicom.dcmread(header.path, specific_tags=list(PIXEL_TAGS))
        pixels = _raw(tags) if header.syntax in RAW else _decompress(tags, COMPRESSED[header.syntax])
    except (*PARSE_ERRORS, StopIteration):
        raise failed(header) from None
    if pixels.shape != (header.rows, header.columns) or pixels.dtype.kind not in "iu":
        raise failed(header)
    return _sign_extended(pixels.astype(np.int64), header)


def failed(header: SliceHeader) -> ReadFailed:
    """The error of a slice that cannot be decoded."""
    return ReadFailed(f"The pixels of {header.path.name} cannot be decoded.", "Export this slice again.")


def _raw(tags: pydicom.Dataset) -> NDArray[Any]:
    """By pydicom's own code: a plugin that happens to be installed must not change what is read."""
    return pixel_array(tags, decoding_plugin="pydicom" if tags.file_meta.TransferSyntaxUID == RLE else "")


def _decompress(tags: pydicom.Dataset, decode: Decode) -> NDArray[Any]:
    return decode(next(generate_frames(tags.PixelData, number_of_frames=1)))


def _sign_extended(values: NDArray[np.int64], header: SliceHeader) -> NDArray[np.int64]:
    """Only the stored bits count (old files hide overlays above them); codecs do not know the sign."""
    values &= (1 << header.bits) - 1
    if header.signed:
        values -= (values >> (header.bits - 1)) << header.bits
    return values
