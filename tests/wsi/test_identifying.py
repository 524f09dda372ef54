"""`identifying_kinds` names kinds that were planted, and nothing of what they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

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
    assert {"patient name", "birth date"} <= set(identifying_kinds(tmp_path / "named.dcm")) - set(blank)


def test_what_is_no_slide(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"nothing")
    assert identifying_kinds(tmp_path / "a.svs") == []
