"""DICOM files that are no slide, or not all of one: named, with what would help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slidestream.errors import InputError, Truncated, UnsupportedFormat
from slidestream.wsi import open_slide

from .dicom_scans import LABEL, OVERVIEW, Pixels, Scan, grid, picture, write, write_parts

GRID = grid((300, 200), (64, 48))
OFF_GRID = [(x + 7 * (y // 48), y) for x, y in GRID if x < 192]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return picture()


def one(scan: Scan, keep: float = 1.0) -> Callable[[Path, Pixels], None]:
    def make(folder: Path, pixels: Pixels) -> None:
        path = write(folder / "a.dcm", pixels, scan)
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])

    return make


def without(part: int) -> Callable[[Path, Pixels], None]:
    def make(folder: Path, pixels: Pixels) -> None:
        write_parts(folder, pixels, Scan(syntax="jpeg2000"), [10, 10, 5])[part].unlink()

    return make


def two_scans(folder: Path, pixels: Pixels) -> None:
    write(folder / "a.dcm", pixels, Scan())
    write(folder / "b.dcm", pixels[:100].copy(), Scan())


def two_planes(folder: Path, pixels: Pixels) -> None:
    write(folder / "a.dcm", pixels, Scan())
    write(folder / "b.dcm", pixels[::-1].copy(), Scan())


@pytest.mark.parametrize(
    ("make", "error", "found"),
    [
        (one(Scan(places=GRID[:-1])), Truncated, "24 of 25 frames"),
        (one(Scan(), keep=0.5), Truncated, "ends before"),
        (one(Scan(), keep=0.01), Truncated, "ends before"),
        (one(Scan(), keep=0.0018), Truncated, "damaged"),
        (one(Scan(syntax="jpeg2000"), keep=0.9), Truncated, "ends before"),
        (one(Scan(syntax="jpeg2000", sparse=True), keep=0.9), Truncated, "ends before"),
        (one(Scan(syntax="jpeg", offsets="none"), keep=0.5), Truncated, "ends before"),
        (without(0), UnsupportedFormat, "2 of 3 files"),
        (without(1), UnsupportedFormat, "2 of 3 files"),
        (without(2), UnsupportedFormat, "2 of 3 files"),
        (two_scans, UnsupportedFormat, "not one pyramid"),
        (two_planes, UnsupportedFormat, "not one pyramid"),
        (one(Scan(flavour=LABEL)), UnsupportedFormat, "label image of a DICOM slide"),
        (one(Scan(flavour=OVERVIEW)), UnsupportedFormat, "overview image of a DICOM slide"),
        (one(Scan(extra={"SamplesPerPixel": 1, "BitsAllocated": 16})), UnsupportedFormat, "1 x 16 bits"),
        (one(Scan(extra={"NumberOfOpticalPaths": 4})), UnsupportedFormat, "4 optical paths"),
        (one(Scan(extra={"TotalPixelMatrixFocalPlanes": 3})), UnsupportedFormat, "3 focal planes"),
        (one(Scan(extra={"DimensionOrganizationType": ""})), UnsupportedFormat, "where its frames lie"),
        (one(Scan(photometric="YBR_FULL")), UnsupportedFormat, "another colour space"),
        (one(Scan(extra={"Modality": "SR", "SOPClassUID": "1.2"})), UnsupportedFormat, "but a report"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, pixels, make, error, found):
    make(tmp_path, pixels)
    with pytest.raises(error, match=found) as raised:
        open_slide(next(iter(sorted(tmp_path.iterdir()))))
    assert raised.value.fix
    assert "canary" not in str(raised.value)
    with pytest.raises(InputError):
        open_slide(tmp_path)


def test_an_unknown_transfer_syntax_is_named_and_an_invented_one_not_quoted(tmp_path, pixels):
    path = write(tmp_path / "a.dcm", pixels, Scan(sparse=True, places=OFF_GRID))
    content = path.read_bytes() + b"\xfe\xff\xdd\xe0" + bytes(4)
    for uid, said in (
        (b"1.2.840.10008.1.2.5", "RLE Lossless"),
        (b"1.2.3.4.19610401.77", "an unknown syntax"),
    ):
        path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", uid + b"\0", 1))
        with pytest.raises(UnsupportedFormat, match=said) as error:
            open_slide(path)
        assert "19610401" not in str(error.value)
