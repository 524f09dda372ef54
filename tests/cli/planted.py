"""Slides and volumes that name a patient wherever their format can hold a text, and broken copies of them."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

NAME, NUMBER, TEXT = "Quackenbush", "77319024466", "zebrafish"
DATES = ("19500131", "1950-01-31", "1950:01:31", "31/01/50")
TOKENS = (NAME, NUMBER, TEXT, *DATES)
"""Each is looked for by itself."""

ALL = " ".join([f"{NAME}^Zelda", NUMBER, f"keeps {TEXT}", *DATES])
PERSON = f"{NAME}^Zelda"


def leaks(data: bytes) -> list[str]:
    """Which tokens stand in the data: as they are, in UTF-16, or in base64 at any offset."""
    lower = data.lower()
    return [token for token in TOKENS if _holds(data, lower, token)]


def _holds(data: bytes, lower: bytes, token: str) -> bool:
    plain = [token.lower().encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be")]
    return any(form in lower for form in plain) or any(form in data for form in _base64_forms(token))


def _base64_forms(token: str) -> Iterator[bytes]:
    """The middle of the base64 of a text that holds the token, for its three places in a group."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + token.encode()).rstrip(b"=")
        spoilt = 0 if before == 0 else before + 1
        yield encoded[spoilt : (before + len(token)) // 3 * 4]


def all_of(path: Path) -> bytes:
    """The bytes of a file, and what it holds compressed: gzip, the texts and the pixels of a PNG."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        return data + gzip.decompress(data)
    if data[:4] == b"\x89PNG":
        with Image.open(path) as picture:
            return data + repr(picture.info).encode() + np.asarray(picture).tobytes()
    return data


def spelled(side: int) -> np.ndarray:
    """A picture, uint8 (side, side, 3), whose pixels spell the tokens, so that a copy could be found."""
    text = np.frombuffer((ALL * (side * side * 3 // len(ALL) + 1)).encode(), np.uint8)
    return text[: side * side * 3].reshape(side, side, 3).copy()


def write_aperio(path: Path, pixels: np.ndarray, mpp: str = "0.5", encoding: str = "utf-8") -> None:
    """As Aperio's scanners write them, with thumbnail, label and macro, and every text tag of TIFF filled."""
    facts = f"|AppMag = 20|MPP = {mpp}|Patient = {PERSON}|ID = {NUMBER}|Date = 31/01/50|User = {ALL}|é{ALL}"
    header = f"Aperio Image Library v11.2.1 {ALL}\r\n700x700 [0,0 700x700] (256x256) JPEG/RGB Q=90"
    texts = [(code, "s", 0, ALL, True) for code in (269, 271, 272, 285, 305, 315, 316, 33432, 65000)]
    wide = ALL.encode("utf-16-le")
    more = [(306, "s", 0, "1950:01:31 10:11:12", True), (40091, "B", len(wide), wide, True)]
    packet = f"<x:xmpmeta>{ALL}</x:xmpmeta>".encode()
    tags = [*texts, *more, (700, "B", len(packet), packet, True)]
    shared = {"photometric": "rgb", "metadata": None, "software": False, "extratags": tags}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, tile=(256, 256), description=(header + facts).encode(encoding), **shared)
        for name, kind in (("thumbnail", 0), ("label", 1), ("macro", 9)):
            words = f"Aperio Image Library v11.2.1\r\n{name} 64x64 {ALL}".encode(encoding)
            tiff.write(spelled(64), subfiletype=kind, rowsperstrip=64, description=words, **shared)


def write_ome(path: Path, pixels: np.ndarray) -> None:
    """A generic tiled TIFF that is described in OME-XML."""
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Experimenter ID="Experimenter:0" LastName="{PERSON}"/><Image ID="Image:0" Name="{ALL}">'
        f"<AcquisitionDate>1950-01-31T10:11:12</AcquisitionDate><Description>{ALL}</Description></Image>"
        f"<StructuredAnnotations><CommentAnnotation ID='a'><Value>{ALL}</Value></CommentAnnotation>"
        "</StructuredAnnotations></OME>"
    )
    options = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
    tifffile.imwrite(
        path, pixels, description=text, resolution=(2e4, 2e4), resolutionunit="CENTIMETER", **options
    )


def write_pictures(folder: Path, pixels: np.ndarray) -> None:
    """A PNG with all kinds of text chunks and a JPEG with EXIF and a comment."""
    picture, chunks, exif = Image.fromarray(pixels), PngInfo(), Image.Exif()
    chunks.add_text("Author", ALL)
    chunks.add_text("Comment", ALL, zip=True)
    chunks.add_itxt("Description", ALL, zip=True)
    exif[315], exif[270], exif[306] = ALL, ALL, "1950:01:31 10:11:12"
    picture.save(folder / "picture.png", pnginfo=chunks, exif=exif)
    picture.save(folder / "photo.jpg", exif=exif, comment=ALL)


def write_mirax(folder: Path) -> None:
    """The index of a MIRAX slide and its description; the data are not there."""
    Image.fromarray(spelled(64)).save(folder / "mirax.jpg", comment=ALL)
    (folder / "mirax.jpg").rename(folder / "mirax.mrxs")
    (folder / "mirax").mkdir()
    (folder / "mirax/Slidedat.ini").write_text(f"[GENERAL]\nSLIDE_ID = {ALL}\nSLIDE_NAME = {PERSON}\n")


def name_patient(header: pydicom.Dataset) -> None:
    """Fill every kind of element of a DICOM header that can name a patient, nested and private ones too."""
    header.PatientName = header.ReferringPhysicianName = header.OperatorsName = PERSON
    header.PatientID = header.AccessionNumber = header.StudyID = header.ContainerIdentifier = NUMBER
    header.PatientBirthDate = header.StudyDate = header.SeriesDate = header.ContentDate = "19500131"
    header.AcquisitionDateTime = "19500131101112"
    for keyword in (
        "StudyDescription",
        "SeriesDescription",
        "InstitutionName",
        "ProtocolName",
        "StationName",
    ):
        setattr(header, keyword, f"{NAME} {TEXT}"[:16])
    header.ImageComments = header.PatientComments = ALL
    header.StudyInstanceUID = f"1.2.826.{NUMBER}.1"
    inner = pydicom.Dataset()
    inner.SpecimenIdentifier, inner.SpecimenShortDescription = NUMBER, ALL[:60]
    header.SpecimenDescriptionSequence = [inner]
    header.private_block(0x0011, PERSON, create=True).add_new(1, "LT", ALL)


def write_ct(folder: Path) -> None:
    """A series of three slices."""
    folder.mkdir()
    series = f"1.2.826.{NUMBER}.2"
    for z in range(6):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        name_patient(header)
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        header.SeriesInstanceUID, header.Modality = series, "CT"
        header.Rows = header.Columns = 32
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
        header.PixelSpacing, header.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
        header.ImagePositionPatient, header.SliceThickness = [0, 0, z], 1
        header.RescaleSlope, header.RescaleIntercept = 1, -1024
        header.PixelData = np.full((32, 32), 1100, "<u2").tobytes()
        header.save_as(folder / f"{z}.dcm", enforce_file_format=True)


def write_nifti(path: Path) -> None:
    """NIfTI-1 with all its texts and two extensions."""
    image = nibabel.Nifti1Image(np.full((32, 32, 6), 40, np.int16), np.diag([-1.0, -1, 1, 1]))
    image.header["descrip"], image.header["aux_file"] = ALL[:79].encode(), f"{NAME} {NUMBER}".encode()
    image.header["db_name"], image.header["intent_name"] = NAME.encode(), NUMBER.encode()
    header = io.BytesIO()
    named = pydicom.Dataset()
    name_patient(named)
    named.save_as(header, implicit_vr=False, little_endian=True)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", ALL.encode()))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, header.getvalue()))
    nibabel.save(image, path)


def write_h5(path: Path) -> None:
    """Features as of TRIDENT, with a text in every attribute."""
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = np.ones((4, 3), np.float32), np.arange(8).reshape(4, 2)
        file["notes"] = ALL
        for holder in (file, file["features"], file["coords"]):
            holder.attrs.update(
                name=ALL, savetodir=f"{NAME}/{NUMBER}", extractor=ALL, encoder=ALL, slidestream=ALL
            )
        file["coords"].attrs.update(patch_size=256, patch_size_level0=512)


def break_copies(path: Path, folder: Path) -> None:
    """Copies of a file that are cut short, overwritten in places, or turned round at the beginning."""
    whole = path.read_bytes()
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    damaged = {f"cut{share}": whole[: len(whole) * share // 100] for share in (30, 98)}
    for at in (4, 140, 400, len(whole) // 3):
        damaged[f"hole{at}"] = whole[:at] + b"\xff" * 48 + whole[at + 48 :]
    damaged["turned"] = whole[:8] + whole[8:600][::-1] + whole[600:]
    damaged["text"] = ALL.encode() * 20
    for name, data in damaged.items():
        # A folder for each: what is left of a DICOM file may still say that it is one of the series.
        copy = folder / name / f"{path.stem.split('.')[0]}-{name}{suffix}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
