"""Small slides in the layout of Philips: levels padded to whole tiles, empty tiles left out, facts in XML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from . import jpeg_slides as js

Pixels = NDArray[np.uint8]


def write(path: Path, levels: list[Pixels], how: js.Layout, empty: list[frozenset[int]]) -> Path:
    """A pyramid at 0.25 µm per px; every directory says that it ends where its last tile does.

    `empty` are the tiles of each level that are left out, numbered in its own grid.
    """
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, (pixels, missing) in enumerate(zip(levels, empty, strict=True)):
            layout = replace(how, missing=missing)
            tiles, below = js.tiles(pixels, how.tile), f"level={number} mag={40 >> number} quality=80"
            tiff.write(
                iter([b"" if i in missing else js.encode(tile, layout) for i, tile in enumerate(tiles)]),
                shape=js.padded(pixels, how.tile).shape,
                dtype=np.uint8,
                tile=(how.tile, how.tile),
                photometric="ycbcr",
                compression="jpeg",
                subfiletype=int(number > 0),
                software="Philips DP v1.0",
                description=below if number else _xml(len(levels)),
                metadata=None,
            )
    return path


def _xml(levels: int) -> str:
    each = "".join(
        f"""<DataObject ObjectType="PixelDataRepresentation">{_spacing(0.00025 * 2**number)}
        <Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER" Group="0x1001" Element="0x8B02"
        PMSVR="IUInt16">{number}</Attribute></DataObject>"""
        for number in range(levels)
    )
    return f"""<?xml version="1.0" encoding="UTF-8" ?>
    <DataObject ObjectType="DPUfsImport">
    <Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070" PMSVR="IString">PHILIPS</Attribute>
    <Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray"><Array>
    <DataObject ObjectType="DPScannedImage">
    <Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">WSI</Attribute>
    {_spacing(0.00025)}
    <Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001" Element="0x8B01"
    PMSVR="IDataObjectArray"><Array>{each}</Array></Attribute>
    </DataObject></Array></Attribute></DataObject>"""


def _spacing(mm: float) -> str:
    return (
        '<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">'
        f"&quot;{mm}&quot; &quot;{mm}&quot;</Attribute>"
    )
