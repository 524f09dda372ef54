"""DICOM slides against their own frames, decoded by pydicom and put where their headers say."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest

from slidestream.cohort.inputs import find_inputs
from slidestream.errors import ReadFailed, UnsupportedFormat
from slidestream.geometry import Region
from slidestream.wsi import Slide, dicom_files, open_slide
from slidestream.wsi.dicom_files import levels_of
from slidestream.wsi.dicom_header import read_header
from slidestream.wsi.dicom_reader import DicomReader
from slidestream.wsi.openslide_reader import OpenSlideReader
from slidestream.wsi.reader import LevelBox

from .dicom_scans import (
    LABEL,
    OVERVIEW,
    REDUCED,
    Pixels,
    Scan,
    grid,
    picture,
    placed,
    write,
    write_parts,
)

SIZE = (300, 200)
TILE = (64, 48)
GRID = grid(SIZE, TILE)
UNALIGNED = [(x + 7 * (y // 48), y) for x, y in GRID if x < 192]
OVERLAPPING = [(x, y) for y in range(0, 160, 31) for x in range(5, 260, 50)]
SHUFFLED = [GRID[i] for i in np.random.default_rng(0).permutation(len(GRID))[:17]]
SYNTAXES = [
    ("raw", "RGB"),
    ("implicit", "RGB"),
    ("jpeg2000", "RGB"),
    ("jpegls", "RGB"),
    ("jpeg", "YBR_FULL_422"),
    ("jpeg", "RGB"),
]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return picture()


def whole(slide: Slide) -> Pixels:
    return slide.read(Region((0, 0), slide.size), slide.size)


def frames_of(path: Path, scan: Scan) -> Pixels:
    """By pydicom, but for JPEG-LS, and for RGB in JPEG: without a marker Pillow takes it for YCbCr."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(path)
        if scan.syntax == "jpegls" or (scan.syntax, scan.photometric) == ("jpeg", "RGB"):
            items = pydicom.encaps.generate_frames(header.PixelData, number_of_frames=header.NumberOfFrames)
            options = {"colorspace": "rgb"} if scan.syntax == "jpeg" else {}
            decode = imagecodecs.jpeg8_decode if scan.syntax == "jpeg" else imagecodecs.jpegls_decode
            return np.stack([decode(item, **options) for item in items])
        return header.pixel_array


@pytest.mark.parametrize("places", [GRID, SHUFFLED, UNALIGNED, OVERLAPPING])
@pytest.mark.parametrize(("syntax", "photometric"), SYNTAXES)
def test_sparse_frames_lie_where_their_groups_say(tmp_path, pixels, places, syntax, photometric):
    scan = Scan(tile=TILE, syntax=syntax, photometric=photometric, sparse=True, places=places)
    path = write(tmp_path / "a.dcm", pixels, scan)
    expected, there = placed(path, frames_of(path, scan))
    with open_slide(path) as slide:
        assert (slide.format, slide.size, slide.mpp) == ("dicom", SIZE, (0.5, 0.5))
        found = whole(slide)
        tolerance = 0 if syntax != "jpeg" else 1
        assert np.abs(found[there].astype(int) - expected[there]).max() <= tolerance
        assert (found[~there] == 255).all()
        for x, y in [(0, 0), (30, 90), (250, 150), (140, 50)]:
            seen = there[y : y + 40, x : x + 40].any()
            assert (slide.read_patch(Region((x, y), (40, 40)), (40, 40)) is not None) == seen


def test_both_readers_are_put_to_use(tmp_path, pixels):
    aligned = write(tmp_path / "a.dcm", pixels, Scan(sparse=True, places=SHUFFLED, series="1.1"))
    off = write(tmp_path / "b.dcm", pixels, Scan(sparse=True, places=UNALIGNED, series="1.2"))
    with open_slide(aligned) as first, open_slide(off) as second:
        assert isinstance(first._reader, OpenSlideReader)
        assert isinstance(second._reader, DicomReader)


@pytest.mark.parametrize(
    "name",
    ["raw.dicom", "jpeg2000.dicom", "jpeg.dicom", "multi_frame_jpeg_camelyon_challenge_image.dcm"],
)
def test_our_reader_gives_openslides_pixels(real, name):
    path = real(f"wsi/{name}")
    (instance,) = levels_of(path)
    own, theirs = DicomReader([[read_header(instance)]]), OpenSlideReader(path)
    assert own.facts.levels == theirs.facts.levels
    assert own.facts.mpp == pytest.approx(tuple(map(float, theirs.facts.mpp)))
    width, height = own.facts.levels[0].size
    for box in [LevelBox(0, 0, 0, width, height), LevelBox(0, -20, 500, 300, 400)]:
        np.testing.assert_array_equal(own.read(box), theirs.read(box))


@pytest.mark.parametrize("offsets", ["basic", "extended", "none"])
def test_frames_are_found_with_any_table_of_offsets(tmp_path, pixels, offsets):
    scan = Scan(syntax="jpeg2000", sparse=True, places=UNALIGNED, offsets=offsets)
    path = write(tmp_path / "a.dcm", pixels, scan)
    expected, there = placed(path, frames_of(path, scan))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide)[there], expected[there])


def test_frames_in_several_fragments(tmp_path, pixels):
    path = write(tmp_path / "a.dcm", pixels, Scan(syntax="jpeg2000", sparse=True, places=UNALIGNED))
    header = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(header.PixelData, number_of_frames=len(UNALIGNED)))
    expected, there = placed(path, header.pixel_array)
    header.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=3)
    header.save_as(path)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide)[there], expected[there])


def test_a_plane_per_colour(tmp_path, pixels):
    path = write(tmp_path / "a.dcm", pixels, Scan())
    header = pydicom.dcmread(path)
    header.PixelData = np.moveaxis(header.pixel_array, 3, 1).tobytes() + b"\0"
    header.PlanarConfiguration = 1
    header.save_as(path)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), pixels)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_level_in_several_files(tmp_path, pixels, sparse):
    scan = Scan(syntax="jpeg2000", sparse=sparse, places=UNALIGNED if sparse else None)
    count = len(UNALIGNED) if sparse else len(GRID)
    parts = write_parts(tmp_path, pixels, scan, [count - 12, 7, 5])
    there = np.zeros((200, 300), bool)
    for x, y in UNALIGNED if sparse else GRID:
        there[y : y + 48, x : x + 64] = True
    identities = set()
    for path in parts:
        with open_slide(path) as slide:
            np.testing.assert_array_equal(whole(slide)[there], pixels[there])
            identities.add(slide.identity())
    assert len(identities) == 1
    assert [item.path for item in find_inputs([tmp_path]).inputs] == [str(parts[0])]


def test_levels_of_a_sparse_pyramid(tmp_path, pixels):
    half = pixels[::2, ::2].copy()
    reduced = Scan(sparse=True, places=[(3, 5), (60, 40)], um=1.0, flavour=REDUCED)
    write(tmp_path / "b.dcm", half, reduced)
    write(tmp_path / "z.dcm", pixels, Scan(sparse=True, places=UNALIGNED))
    with open_slide(tmp_path) as slide:
        assert [level.size for level in slide.levels] == [SIZE, (150, 100)]
        found = slide.read(Region((12, 14), (80, 80)), (40, 40))
        np.testing.assert_array_equal(found, half[7:47, 6:46])


def mixed(folder: Path, pixels: Pixels) -> dict[str, Pixels]:
    """Three slides in one folder, each with a reduced level, a label and an overview."""
    shown = {}
    for number in range(3):
        this = np.roll(pixels, 37 * number, axis=1)
        series = f"1.2.3.{number}"
        write(folder / f"a{number}.dcm", this[::2, ::2].copy(), Scan(um=1.0, flavour=REDUCED, series=series))
        write(folder / f"base{number}.dcm", this, Scan(syntax="jpeg2000", series=series))
        for name, flavour in (("label", LABEL), ("overview", OVERVIEW)):
            beside = write(
                folder / f"{name}{number}.dcm", pixels[:48, :64].copy(), Scan(flavour=flavour, series=series)
            )
            damage(beside)
        shown[f"base{number}"] = this
    return shown


def damage(path: Path) -> None:
    """Cut off most of the pixels: whoever reads them fails."""
    path.write_bytes(path.read_bytes()[:-9000])


def test_a_mixed_folder_is_as_many_slides_as_series(tmp_path, pixels):
    shown = mixed(tmp_path, pixels)
    found = find_inputs([tmp_path]).inputs
    assert [item.slide_id for item in found] == ["base0", "base1", "base2"]
    for item in found:
        with open_slide(item.path) as slide:
            assert [level.size for level in slide.levels] == [SIZE, (150, 100)]
            np.testing.assert_array_equal(whole(slide), shown[item.slide_id])


def test_labels_and_overviews_are_not_part_of_the_slide(tmp_path, pixels):
    mixed(tmp_path, pixels)
    with open_slide(tmp_path / "base1.dcm") as slide:
        before = slide.identity()
    for path in [*tmp_path.glob("label*"), *tmp_path.glob("overview*")]:
        path.unlink()
    (tmp_path / "base1.dcm").rename(tmp_path / "0.dcm")
    with open_slide(tmp_path / "0.dcm") as slide:
        assert slide.identity() == before


def test_headers_beside_a_slide_are_read_once_until_a_file_changes(tmp_path, pixels, monkeypatch):
    mixed(tmp_path, pixels)
    for path in tmp_path.iterdir():
        os.utime(path, (1e9, 1e9))
    read, really = [], dicom_files._read
    monkeypatch.setattr(dicom_files, "_read", lambda path: read.append(path) or really(path))
    for _ in range(3):
        assert [found.path.name for found in levels_of(tmp_path / "base0.dcm")]
    assert sorted(read) == sorted(tmp_path.iterdir())
    write(tmp_path / "a0.dcm", pixels[::2, ::2].copy(), Scan(um=1.0, flavour=REDUCED, series="1.9"))
    assert [found.path.name for found in levels_of(tmp_path / "base0.dcm")] == ["base0.dcm"]


def test_a_copy_of_an_instance_changes_nothing(tmp_path, pixels):
    path = write(tmp_path / "a.dcm", pixels, Scan())
    with open_slide(path) as slide:
        before = slide.identity()
    shutil.copy(path, tmp_path / "b.dcm")
    with open_slide(path) as slide:
        assert slide.identity() == before
        np.testing.assert_array_equal(whole(slide), pixels)


def test_a_reduced_level_alone_is_refused_unless_the_user_says_what_it_is(tmp_path, pixels):
    path = write(tmp_path / "a.dcm", pixels, Scan(um=1.0, flavour=REDUCED))
    with pytest.raises(UnsupportedFormat, match="full resolution is not there") as error:
        open_slide(path)
    assert "series" in error.value.fix
    assert "--slide-mpp" in error.value.fix
    with open_slide(path, mpp=1.0) as slide:
        np.testing.assert_array_equal(whole(slide), pixels)
    write(tmp_path / "b.dcm", np.repeat(np.repeat(pixels, 2, 0), 2, 1), Scan(um=0.5))
    with open_slide(path) as slide:
        assert slide.size == (600, 400)


def test_a_damaged_frame_fails_alone(tmp_path, pixels):
    path = write(tmp_path / "a.dcm", pixels, Scan(syntax="jpeg2000", sparse=True, places=UNALIGNED))
    content = path.read_bytes()
    frames = list(pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=15))
    at = content.index(frames[4])
    path.write_bytes(content[:at] + b"\0" * 60 + content[at + 60 :])
    x, y = UNALIGNED[4]
    with open_slide(path) as slide:
        for corner in [(x - 20, y), (x, y - 20), (x + 40, y + 30)]:
            with pytest.raises(ReadFailed):
                slide.read_patch(Region(corner, (30, 30)), (30, 30))
        for left, top in [(x - 31, y), (x + 64, y), (x, y + 48)]:
            found = slide.read_patch(Region((left, top), (20, 20)), (20, 20))
            np.testing.assert_array_equal(found, pixels[top : top + 20, left : left + 20])


def test_a_closed_slide_reads_no_frame(tmp_path, pixels):
    slide = open_slide(write(tmp_path / "a.dcm", pixels, Scan(sparse=True, places=UNALIGNED)))
    slide.close()
    with pytest.raises(ReadFailed):
        slide._reader.read(LevelBox(0, 0, 0, 9, 9))
