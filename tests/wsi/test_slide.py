"""What a slide says of itself, and which files it is made of."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import MppMissing, ReadFailed, Unreadable, UnsupportedFormat
from slidestream.geometry import Region
from slidestream.identity import content_identity
from slidestream.tiling.source import PatchSource
from slidestream.wsi import open_slide
from slidestream.wsi.files import files_of
from slidestream.wsi.slide import Slide

OPEN_FILES = Path("/proc/self/fd")
CMU = "wsi/CMU-1-Small-Region.svs"


def as_source(source: PatchSource) -> PatchSource:
    return source  # checked by mypy and by what follows


def test_describe_and_properties(real):
    with open_slide(real(CMU)) as slide:
        facts = as_source(slide).describe()
        assert facts == {
            "kind": "slide",
            "format": "aperio",
            "size": [2220, 2967],
            "spacing": [0.499, 0.499],
            "identity": content_identity([real(CMU)]),
            "levels": 1,
            "objective_power": 20.0,
            "colours": "as stored",
        }
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts
        assert slide.properties == {
            "vendor": "aperio",
            "objective_power": 20.0,
            "level_count": 1,
            "mpp_x": 0.499,
            "mpp_y": 0.499,
        }
        assert slide.bounds == Region((0, 0), (2220, 2967))
        assert slide.path == real(CMU)


@pytest.mark.parametrize(
    ("name", "kind", "levels"),
    [
        ("P-2_carotid_zoomify.tiff", "generic-tiff", 8),
        ("test3-DAPI-2-(387).ndpi", "hamamatsu", 7),
        ("raw.dicom", "dicom", 1),
        ("boxes_0.dcm", "dicom", 1),
    ],
)
def test_format_and_levels(real, name, kind, levels):
    with open_slide(real(f"wsi/{name}")) as slide:
        assert (slide.format, len(slide.levels)) == (kind, levels)
        assert slide.levels[0].size == slide.size
        assert slide.levels[0].downsample == (1.0, 1.0)


def test_the_context_manager_closes(real):
    with open_slide(real(CMU)) as slide:
        assert isinstance(slide, Slide)
    for read in (slide.read, slide.read_patch):
        with pytest.raises(ReadFailed, match="closed"):
            read(Region((0, 0), (10, 10)), (10, 10))
    with pytest.raises(ReadFailed, match="closed"):
        slide.thumbnail(10)
    with pytest.raises(ReadFailed, match="closed"):
        slide.overview(8.0, 10)
    assert slide.size == (2220, 2967)


def test_identity_is_content_not_name(real, tmp_path):
    copy = tmp_path / "other name.svs"
    shutil.copy(real(CMU), copy)
    with open_slide(real(CMU)) as a, open_slide(copy) as b:
        assert a.identity() == b.identity()
    with open_slide(real("malformed/svs_mutants/tile_zero_length.svs")) as c:
        assert c.identity() != a.identity()


def test_a_dicom_slide_is_the_pyramid_of_its_series_and_not_its_thumbnail(real, tmp_path):
    names = ["boxes_0.dcm", "boxes_1.dcm", "raw.dicom"]
    for new, name in zip(["b", "a", "c"], names, strict=True):
        shutil.copy(real(f"wsi/{name}"), tmp_path / new)
    expected = content_identity([real("wsi/boxes_0.dcm")])
    for name in ("a", "b"):
        with open_slide(tmp_path / name) as slide:
            assert slide.identity() == expected
    with open_slide(tmp_path / "c") as slide:
        assert slide.identity() == content_identity([real("wsi/raw.dicom")])


def test_a_folder_of_one_dicom_slide_opens(real, tmp_path):
    for name in ("boxes_1.dcm", "boxes_0.dcm"):
        shutil.copy(real(f"wsi/{name}"), tmp_path / name)
    with open_slide(tmp_path) as slide, open_slide(real("wsi/boxes_0.dcm")) as file:
        assert slide.identity() == file.identity()
        np.testing.assert_array_equal(slide.thumbnail(16), file.thumbnail(16))
    shutil.copy(real("wsi/raw.dicom"), tmp_path / "raw.dicom")
    with pytest.raises(UnsupportedFormat, match="several DICOM slides"):
        open_slide(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsupportedFormat, match="without a DICOM slide"):
        open_slide(tmp_path / "empty")


def test_lossless_dicom_syntaxes_agree(real):
    with open_slide(real("wsi/raw.dicom")) as raw, open_slide(real("wsi/jpeg2000.dicom")) as packed:
        region = Region((100.5, 50.25), (500, 600))
        np.testing.assert_array_equal(raw.read(region, (133, 171)), packed.read(region, (133, 171)))


def test_a_mirax_slide_is_its_index_and_its_folder(tmp_path):
    index = tmp_path / "a.mrxs"
    folder = tmp_path / "a"
    folder.mkdir()
    for path in (index, folder / "Data0001.dat", folder / "Data0000.dat", folder / "Slidedat.ini"):
        path.write_bytes(path.name.encode())
    (folder / "sub").mkdir()
    assert [path.name for path in files_of(index, "mirax")] == [
        "a.mrxs",
        "Data0000.dat",
        "Data0001.dat",
        "Slidedat.ini",
    ]


def test_scanned_bounds_are_taken_where_they_fit_the_slide():
    from slidestream.wsi.openslide_reader import _bounds

    keys = [f"openslide.bounds-{key}" for key in ("x", "y", "width", "height")]

    def bounds(*values):
        return _bounds(dict(zip(keys, values, strict=False)), (1000, 800))

    assert bounds("100", "50", "300", "200") == (100, 50, 300, 200)
    assert bounds("0", "0", "1000", "800") == (0, 0, 1000, 800)
    for odd in [(), ("1", "2", "3"), ("900", "0", "200", "10"), ("0", "0", "0", "5"), ("nan", "0", "5", "5")]:
        assert bounds(*odd) is None


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files are counted as Linux shows them")
def test_closing_and_failing_release_the_file(real):
    before = len(list(OPEN_FILES.iterdir()))
    for _ in range(5):
        open_slide(real(CMU)).close()
        with open_slide(real("malformed/unreadable.svs")) as slide, pytest.raises(Unreadable):
            slide.thumbnail(10)
        with pytest.raises(MppMissing):
            open_slide(real("malformed/svs_mutants/mpp_missing.svs"))
    assert len(list(OPEN_FILES.iterdir())) <= before
