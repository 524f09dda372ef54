"""Files that look like slides and are none that can be read: what was found, and what would help."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from slidestream.errors import Truncated, UnsupportedFormat
from slidestream.geometry import Region
from slidestream.wsi import open_slide

PIXELS = np.random.default_rng(0).integers(0, 256, (600, 700, 3), np.uint8)
HALF = PIXELS[::2, ::2].copy()
TILED = {"tile": (256, 256), "resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
QPI = (
    "<?xml version='1.0'?><PerkinElmer-QPI-ImageDescription><Name>{}</Name>"
    "<ImageType>{}</ImageType><SlideID>Mrs Example</SlideID></PerkinElmer-QPI-ImageDescription>"
)


def write_qptiff(path: Path, planes: list[Any], **options: Any) -> Path:
    """As the scanner writes it: all planes, an untiled thumbnail, the planes at half size, the label."""
    shared = {"software": "PerkinElmer-QPI", "metadata": None, **options}
    with tifffile.TiffWriter(path) as tiff:
        for number, plane in enumerate(planes):
            tiff.write(plane, description=QPI.format(number, "FullResolution"), **TILED, **shared)
        small = PIXELS[::8, ::8].copy()
        tiff.write(small, photometric="rgb", description=QPI.format("", "Thumbnail"), metadata=None)
        for number, plane in enumerate(planes):
            reduced = plane[::2, ::2].copy()
            tiff.write(
                reduced,
                subfiletype=1,
                tile=(256, 256),
                description=QPI.format(number, "ReducedResolution"),
                **shared,
            )
        tiff.write(small[:40], photometric="rgb", description=QPI.format("", "Label"), metadata=None)
    return path


@pytest.mark.parametrize(("depth", "bits"), [(np.uint8, "8-bit"), (np.uint16, "16-bit")])
def test_a_fluorescence_qptiff_is_named_with_its_channels(tmp_path, depth, bits):
    planes = [PIXELS[..., i % 3].astype(depth) for i in range(5)]
    path = write_qptiff(tmp_path / "a.qptiff", planes, photometric="minisblack")
    with pytest.raises(
        UnsupportedFormat, match=f"A QPTIFF with 5 channels or planes and {bits} grey"
    ) as error:
        open_slide(path)
    assert "Bright-field" in error.value.fix
    assert "Example" not in str(error.value)


def test_a_bright_field_qptiff_is_read_without_its_thumbnail_and_label(tmp_path):
    path = write_qptiff(tmp_path / "a.qptiff", [PIXELS], photometric="rgb")
    with open_slide(path) as slide:
        assert [level.size for level in slide.levels] == [(700, 600), (350, 300)]
        assert slide.mpp == (0.5, 0.5)
        np.testing.assert_array_equal(slide.read(Region((0, 0), (700, 600)), (700, 600)), PIXELS)
        np.testing.assert_array_equal(slide.read(Region((0, 0), (700, 600)), (350, 300)), HALF)


@pytest.mark.parametrize(
    ("shape", "axes", "options", "found"),
    [
        (
            (4, 600, 700),
            "CYX",
            {"photometric": "minisblack"},
            "An OME-TIFF with 4 channels or planes and 8-bit grey",
        ),
        ((3, 600, 700, 3), "ZYXS", {"photometric": "rgb"}, "An OME-TIFF with 3 channels or planes"),
        ((2, 600, 700, 3), "TYXS", {"photometric": "rgb"}, "An OME-TIFF with 2 channels or planes"),
        ((2, 3, 600, 700), "ZCYX", {"photometric": "minisblack"}, "An OME-TIFF with 6 channels or planes"),
    ],
)
def test_an_ome_stack_is_no_slide(tmp_path, shape, axes, options, found):
    pixels = np.broadcast_to(PIXELS if axes.endswith("S") else PIXELS[..., 0], shape)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels.copy(), metadata={"axes": axes}, ome=True, **TILED, **options)
    with pytest.raises(UnsupportedFormat, match=found) as error:
        open_slide(path)
    assert "of one plane" in error.value.fix


def test_an_ome_stack_of_colours_without_its_xml_is_still_a_stack(tmp_path):
    path = tmp_path / "a.tif"
    for options in (TILED, {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}):
        stack = np.stack([PIXELS, PIXELS[::-1]])
        tifffile.imwrite(path, stack, photometric="rgb", metadata=None, **options)
        with pytest.raises(UnsupportedFormat, match="A TIFF with 2 channels or planes"):
            open_slide(path)


def test_a_bright_field_ome_tiff_is_read(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(PIXELS, photometric="rgb", subifds=1, metadata={"axes": "YXS"}, **TILED)
        tiff.write(HALF, photometric="rgb", subfiletype=1, tile=(256, 256))
    with open_slide(path) as slide:
        assert slide.size == (700, 600)
        np.testing.assert_array_equal(slide.read(Region((0, 0), (700, 600)), (700, 600)), PIXELS)


def write_czi(path: Path, subblocks: list[tuple[int, dict[str, tuple[int, int]]]], lost: int = 0) -> Path:
    """Header and directory; per subblock the pixel type and (start, size) per axis."""

    def segment(name: bytes, content: bytes) -> bytes:
        return struct.pack("<16sqq", name, len(content), len(content)) + content

    entries = b""
    for pixels, axes in subblocks:
        entries += struct.pack("<2siqiiB5xi", b"DV", pixels, 0, 0, 0, 0, len(axes))
        for name, (start, size) in axes.items():
            entries += struct.pack("<4siifi", name.encode(), start, size, 0.0, size)
    # major, minor, two reserved, two GUIDs, part; then where the directory and the metadata are
    header = struct.pack("<4i16s16siqq", 1, 0, 0, 0, b"", b"", 0, 32 + 512, 0)
    directory = segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(subblocks)) + entries)
    content = segment(b"ZISRAWFILE", header.ljust(512, b"\0")) + directory
    path.write_bytes(content[: len(content) - lost])
    return path


PLANE = {"X": (0, 64), "Y": (0, 64)}


@pytest.mark.parametrize(
    ("subblocks", "lost", "found"),
    [
        ([(1, PLANE)], 0, "A CZI with 16-bit grey pixels"),
        (
            [(0, PLANE | {"C": (0, 1)}), (0, PLANE | {"C": (2, 1)})],
            0,
            "A CZI with 3 channels and 8-bit grey pixels",
        ),
        ([(3, PLANE | {"Z": (z, 1)}) for z in range(5)], 0, "A CZI with 5 focal planes;"),
        ([(4, PLANE)], 0, "A CZI with 16-bit colour pixels"),
        ([(3, PLANE)], 0, "zeiss file that OpenSlide cannot read"),
        ([(1, PLANE)], 20, "zeiss file that OpenSlide cannot read"),
        ([], 0, "zeiss file that OpenSlide cannot read"),
    ],
)
def test_a_czi_says_what_it_holds(tmp_path, subblocks, lost, found):
    path = write_czi(tmp_path / "a.czi", subblocks, lost)
    with pytest.raises(UnsupportedFormat, match=found) as error:
        open_slide(path, mpp=0.5)
    assert error.value.fix


def write_mirax(folder: Path, files: int = 3) -> Path:
    index, data = folder / "a.mrxs", folder / "a"
    Image.fromarray(PIXELS).save(index, format="JPEG")
    data.mkdir()
    names = [f"Data{number:04}.dat" for number in range(files)]
    listed = "".join(f"FILE_{number} = {name}\n" for number, name in enumerate(names))
    (data / "Slidedat.ini").write_text(
        f"\ufeff[GENERAL]\nSLIDE_NAME = Mrs Example\n[HIERARCHICAL]\nINDEXFILE = Index.dat\n"
        f"[DATAFILE]\nFILE_COUNT = {files}\n{listed}",
        encoding="utf-8",
    )
    for name in ["Index.dat", *names]:
        (data / name).write_bytes(b"01.02")
    return index


@pytest.mark.parametrize(
    ("lost", "found"),
    [
        (["Index.dat"], r"1 of 4 files are missing \(Index.dat\)"),
        (["Data0001.dat", "Data0002.dat"], r"2 of 4 files are missing \(Data0001.dat, Data0002.dat\)"),
        (["Slidedat.ini"], "without its Slidedat.ini"),
        ([], "mirax file that OpenSlide cannot read"),
    ],
)
def test_a_mirax_slide_names_its_missing_files(tmp_path, lost, found):
    index = write_mirax(tmp_path)
    for name in lost:
        (tmp_path / "a" / name).unlink()
    with pytest.raises(UnsupportedFormat, match=found) as error:
        open_slide(index)
    assert "Copy" in error.value.fix
    assert "Example" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[DATAFILE\nFILE_COUNT", "damaged index"),
        ("[HIERARCHICAL]\nINDEXFILE=Index.dat\n", "damaged Slidedat.ini"),
        ("[HIERARCHICAL]\nINDEXFILE=Index.dat\n[DATAFILE]\nFILE_COUNT=99999999999\n", "damaged Slidedat.ini"),
        (
            "[HIERARCHICAL]\nINDEXFILE=../Example.txt\n[DATAFILE]\nFILE_COUNT=1\n",
            "2 of 2 files are missing.",
        ),
    ],
)
def test_a_damaged_mirax_index_is_named_and_leads_nowhere(tmp_path, text, found):
    index = write_mirax(tmp_path)
    (tmp_path / "Example.txt").write_text("outside the slide's folder")
    (tmp_path / "a/Slidedat.ini").write_text(text)
    with pytest.raises(UnsupportedFormat) as error:
        open_slide(index)
    assert "Example" not in str(error.value)
    assert found in error.value.cause


def test_a_vms_slide_counts_its_missing_files(tmp_path):
    (tmp_path / "a.vms").write_text(
        "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=2\nNoJpegRows=1\n"
        "ImageFile=Mrs Example.jpg\nImageFile(1,0)=Mrs Example(1).jpg\nMapFile=map.jpg\n"
    )
    (tmp_path / "Mrs Example.jpg").write_bytes(b"")
    with pytest.raises(UnsupportedFormat, match="2 of 3 files are missing") as error:
        open_slide(tmp_path / "a.vms")
    assert "Example" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["test3-DAPI-2-(387).ndpi", "boxes.tiff", "small.svs", "CropBreastSlide.tiff"]
)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.99])
def test_a_file_cut_anywhere_is_truncated_or_loses_nothing_unseen(real, tmp_path, name, kept):
    """Only what the cut leaves whole may open; nothing may be read by another reader as something else."""
    content = real(f"wsi/{name}").read_bytes()
    path = tmp_path / f"a{Path(name).suffix}"
    path.write_bytes(content[: int(kept * len(content))])
    try:
        with open_slide(real(f"wsi/{name}"), 0.5) as whole, open_slide(path, 0.5) as cut:
            assert cut.format == whole.format
            assert cut.levels == whole.levels
    except Truncated:
        assert kept < 1
