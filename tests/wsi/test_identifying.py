"""`identifying_kinds` names kinds that were planted, and nothing of what they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from slidestream.wsi.identifying import identifying_kinds


def test_an_aperio_slide(real: Callable[[str], Path]) -> None:
    kinds = identifying_kinds(real("wsi/CMU-1-Small-Region.svs"))
    assert {"label image", "macro image", "dates", "names of staff", "free text"} <= set(kinds)


def test_planted_in_a_description(tmp_path: Path) -> None:
    pixels = np.full((300, 300, 3), 200, np.uint8)
    text = "Aperio Image Library v11\r\n300x300|MPP = 0.5|Patient = Jane Doe"
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", description=text, metadata=None)
    kinds = identifying_kinds(path)
    assert "patient or case" in kinds
    assert "label image" not in kinds
    assert not any("Jane" in kind for kind in kinds)


NAMED = "Jane Doe"


def write_tiff(path: Path, description: str = "", **more: object) -> Path:
    pixels = np.full((300, 300, 3), 200, np.uint8)
    options = {"tile": (256, 256), "photometric": "rgb", "description": description, "metadata": None}
    tifffile.imwrite(path, pixels, **options | more)
    return path


@pytest.mark.parametrize(
    ("tag", "value", "kind"),
    [
        (315, NAMED, "names of staff"),
        (316, NAMED, "computer name"),
        (306, "1961:04:01 10:11:12", "dates"),
        (269, NAMED, "original file name"),
        (700, f"<x:xmpmeta>{NAMED}</x:xmpmeta>", "free text"),
        (65001, NAMED, "private fields"),
    ],
)
def test_each_tag_of_a_tiff(tmp_path: Path, tag: int, value: str, kind: str) -> None:
    clean = identifying_kinds(write_tiff(tmp_path / "clean.tiff", software=False))
    path = write_tiff(tmp_path / "a.tiff", software=False, extratags=[(tag, 2, 0, value, True)])
    assert set(identifying_kinds(path)) - set(clean) == {kind}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("<OME><Experimenter LastName='x'/></OME>", {"free text", "names of staff"}),
        ("<OME><Image AcquisitionDate='x'/></OME>", {"free text", "dates"}),
        ("scanned on 01/04/61", {"free text", "dates"}),
        ("of 19610401 by somebody", {"free text", "dates"}),
        ("Aperio|Barcode = x|Filename = y", {"free text", "patient or case", "original file name"}),
        ("1961 x 4100 px at 0.25", {"free text"}),
    ],
)
def test_what_a_description_is_about(tmp_path: Path, text: str, kinds: set[str]) -> None:
    assert set(identifying_kinds(write_tiff(tmp_path / "a.tiff", text, software=False))) == kinds


def test_pictures(tmp_path: Path) -> None:
    picture, facts, exif = Image.new("RGB", (60, 60)), PngInfo(), Image.Exif()
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "plain.jpg")
    assert identifying_kinds(tmp_path / "plain.png") == identifying_kinds(tmp_path / "plain.jpg") == []
    facts.add_text("Author", NAMED)
    facts.add_itxt("Comment", NAMED, zip=True)
    picture.save(tmp_path / "a.png", pnginfo=facts)
    exif[306], exif[315] = "1961:04:01 10:11:12", NAMED
    picture.save(tmp_path / "a.jpg", exif=exif, comment=NAMED)
    assert identifying_kinds(tmp_path / "a.png") == ["free text", "names of staff"]
    assert identifying_kinds(tmp_path / "a.jpg") == ["dates", "free text", "names of staff"]


def test_a_slide_without_any(tmp_path: Path, write_slide: Callable[..., Path]) -> None:
    path = write_slide(tmp_path / "a.tiff", np.full((300, 300, 3), 200, np.uint8), 0.5)
    assert set(identifying_kinds(path)) <= {"free text"}


def test_dicom(tmp_path: Path, real: Callable[[str], Path]) -> None:
    pydicom = pytest.importorskip("pydicom")
    header = pydicom.dcmread(real("wsi/raw.dicom"))
    for name in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "InstitutionName"):
        setattr(header, name, "")
    header.save_as(tmp_path / "blank.dcm")
    blank = identifying_kinds(tmp_path / "blank.dcm")
    header.PatientName = "Doe^Jane"
    header.PatientBirthDate = "19610401"
    header.save_as(tmp_path / "named.dcm")
    assert set(identifying_kinds(tmp_path / "named.dcm")) - set(blank) == {"patient name", "birth date"}
    specimen = pydicom.Dataset()
    specimen.SpecimenIdentifier = "7"
    header.SpecimenDescriptionSequence = [specimen]
    header.private_block(0x11, "maker", create=True).add_new(1, "LO", "Jane")
    header.OperatorsName, header.BurnedInAnnotation = "Doe^John", "YES"
    header.save_as(tmp_path / "more.dcm")
    deeper = {"accession or specimen number", "private fields", "names of staff", "text in the pixels"}
    assert deeper <= set(identifying_kinds(tmp_path / "more.dcm")) - set(blank)


def test_what_is_no_slide(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"nothing")
    assert identifying_kinds(tmp_path / "a.svs") == []
