"""Nothing of a patient leaves the file: a canary in every place where one could sit."""

import logging
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openslide
import pydicom
import pytest
import tifffile

from slidestream.errors import InputError
from slidestream.geometry import Region
from slidestream.wsi import open_slide
from slidestream.wsi.quiet import silent_tifffile

CANARY = "CANARY-1950-01-31"
MAGENTA = (255, 0, 255)
HEADER = f"Aperio Image Library {CANARY}\r\n600x500 [0,0 600x500] (256x256) JPEG/RGB Q=90"
FIELDS = f"|AppMag = 20|MPP = 0.5|Patient = {CANARY}|User = {CANARY}|Filename = {CANARY}"


def write_svs(path, extra=b"", mpp="0.5"):
    """An SVS with a label and a macro, the canary in every description and painted on both."""
    text = (HEADER + FIELDS.replace("MPP = 0.5", f"MPP = {mpp}")).encode() + extra
    tissue = np.full((500, 600, 3), 200, np.uint8)
    painted = np.full((300, 300, 3), MAGENTA, np.uint8)
    shared = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(tissue, description=text, tile=(256, 256), **shared)
        tiff.write(painted, description=text, **shared)
        for name, kind in (("label", 1), ("macro", 9)):
            words = f"{HEADER}\r\n{name} 300x300 - {CANARY}".encode()
            tiff.write(painted, description=words, subfiletype=kind, rowsperstrip=64, **shared)
    return path


@pytest.fixture(params=[b"", b"\x81"], ids=["plain", "not utf-8"])
def svs(tmp_path, request):
    return write_svs(tmp_path / "slide.svs", request.param)


def test_the_canary_is_really_in_the_file(svs):
    with openslide.OpenSlide(svs) as slide:
        assert {"label", "macro"} <= set(slide.associated_images)
        assert CANARY in slide.properties["openslide.comment"]
        assert np.asarray(slide.associated_images["label"])[0, 0, :3].tolist() == list(MAGENTA)


def test_nothing_a_slide_returns_holds_the_canary(svs, caplog, capfd, monkeypatch):
    def forbidden(self):
        raise AssertionError("stored images must not be read")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(forbidden))
    with caplog.at_level(logging.DEBUG), open_slide(svs) as slide:
        said = [repr(slide), str(slide), slide.describe(), slide.properties, slide.levels, slide.bounds]
        pictures = [
            slide.thumbnail(400),
            slide.overview(2.0, 400)[0],
            slide.read(Region((0, 0), (600, 500)), (300, 250)),
        ]
    captured = capfd.readouterr()
    assert CANARY not in f"{said} {caplog.text} {captured.out} {captured.err}"
    assert (slide.format, slide.mpp, slide.describe()["objective_power"]) == ("aperio", (0.5, 0.5), 20.0)
    for picture in pictures:
        assert (picture == 200).all()


def broken_copies(folder):
    yield write_svs(folder / "mpp.svs", mpp="0")
    yield write_svs(folder / "text.svs", mpp=CANARY)
    yield write_svs(folder / "none.svs", mpp="")
    whole = write_svs(folder / "whole.svs", "µ".encode("latin-1")).read_bytes()
    for i, start in enumerate(range(0, len(whole) - 64, len(whole) // 40)):
        path = folder / f"{i}.svs"
        path.write_bytes(whole[:start] + b"\xff" * 64 + whole[start + 64 :])
        yield path
    for i, share in enumerate((0.2, 0.5, 0.9, 0.99)):
        path = folder / f"cut{i}.svs"
        path.write_bytes(whole[: int(len(whole) * share)])
        yield path
    path = folder / "text only.svs"
    path.write_bytes(FIELDS.encode())
    yield path


def failure(path):
    """What a user or a log would see of opening and reading the whole file, if that fails."""
    try:
        with open_slide(path) as slide:
            slide.thumbnail(100)
            slide.read(Region((0, 0), (600, 500)), (600, 500))
    except InputError as error:
        return ["".join(traceback.format_exception(error)), repr(error)]
    return []


def test_no_error_of_a_broken_copy_holds_the_canary(tmp_path, caplog, capfd):
    failures = []
    with caplog.at_level(logging.DEBUG):
        for path in broken_copies(tmp_path):
            failures += failure(path)
    captured = capfd.readouterr()
    assert len(failures) >= 6
    assert CANARY not in "".join([*failures, caplog.text, captured.out, captured.err])


def test_a_damaged_dicom_header_is_not_quoted(real, tmp_path, caplog, recwarn):
    """A length that is too long makes one identifier of most of the header; pydicom would quote it."""
    content = bytearray(real("wsi/boxes_0.dcm").read_bytes())
    at = content.index(b"\x08\x00\x18\x00UI")
    content[at + 6 : at + 8] = (2678).to_bytes(2, "little")
    (tmp_path / "a.dcm").write_bytes(content)
    pydicom.dcmread(tmp_path / "a.dcm", stop_before_pixels=True).get("SOPInstanceUID")
    assert any("Bangor" in str(warning.message) for warning in recwarn)
    recwarn.clear()
    caplog.clear()
    with pytest.raises(InputError) as error:
        open_slide(tmp_path / "a.dcm")
    said = [str(warning.message) for warning in recwarn] + [caplog.text, str(error.value)]
    assert "Bangor" not in " ".join(said)


def test_tifffile_would_have_told(svs, caplog, request):
    """The silence is needed: on its own tifffile logs the bytes of a header that is no UTF-8."""

    def texts():
        with tifffile.TiffFile(svs) as tiff:
            return [page.tags[270].value for page in tiff.pages]

    texts()
    assert (CANARY in caplog.text) == ("not utf-8" in request.node.name)
    caplog.clear()
    with silent_tifffile():
        texts()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(logging.getLogger("tifffile").warning, "another thread").result()
    assert caplog.messages == ["another thread"]
