"""Damaged files fail with a code or read as damaged; nothing else escapes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slidestream.errors import InputError, ReadFailed
from slidestream.geometry import Region
from slidestream.radiology.volume import open_volume

from .conftest import WriteDicom, WriteNifti

Real = Callable[[str], Path]
NOISE = np.random.default_rng(0).integers(-1000, 1000, (4, 16, 16))


def attempt(path: Path) -> None:
    with contextlib.suppress(InputError), open_volume(path) as volume:
        volume.describe()
        volume.read_patch(Region((0, 0, 0), (8, 8, 3)), (8, 8))


def mutants(content: bytes, first: int, last: int, count: int) -> list[bytes]:
    random = np.random.default_rng(1)
    found = [content[: random.integers(len(content))] for _ in range(count // 5)]
    for _ in range(count - len(found)):
        mutant = bytearray(content)
        for at in random.integers(first, last, random.choice([1, 2, 8])):
            mutant[at] = random.integers(256)
        found.append(bytes(mutant))
    return found


@pytest.mark.filterwarnings("ignore")
def test_dicom_headers(tmp_path: Path, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "a", NOISE) / "001.dcm"
    content = path.read_bytes()
    for mutant in mutants(content, 128, len(content) - 500, 200):
        path.write_bytes(mutant)
        attempt(path.parent)


@pytest.mark.filterwarnings("ignore")
def test_nifti_headers(tmp_path: Path, write_nifti: WriteNifti) -> None:
    path = write_nifti(tmp_path / "a.nii", NOISE.astype(np.int16))
    for mutant in mutants(path.read_bytes(), 0, 352, 300):
        path.write_bytes(mutant)
        attempt(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("codec", ["rle", "jpeg", "jpegls", "j2k"])
def test_compressed_pixels(codec: str, real: Real, tmp_path: Path) -> None:
    shutil.copytree(real(f"radiology/dicom2nifti/generic/compressed_{codec}/001"), tmp_path / "a")
    path = tmp_path / "a" / "IM-0001-0002-0001.dcm"
    content = path.read_bytes()
    for mutant in mutants(content, content.index(b"\xe0\x7f\x10\x00"), len(content), 30):
        path.write_bytes(mutant)
        attempt(path.parent)


@pytest.mark.filterwarnings("ignore")
def test_run_lengths_beyond_the_slice(real: Real, tmp_path: Path) -> None:
    """A decoder plugin that pydicom prefers where installed panics here, past every `except Exception`."""
    shutil.copytree(real("radiology/dicom2nifti/generic/compressed_rle/001"), tmp_path / "a")
    path = tmp_path / "a" / "IM-0001-0002-0001.dcm"
    content = bytearray(path.read_bytes())
    start = content.index(b"\xe0\x7f\x10\x00")
    content[start + 1000 :] = b"\x7f" * (len(content) - start - 1000)
    path.write_bytes(content)
    with open_volume(path.parent) as volume, pytest.raises(ReadFailed):
        volume.read_patch(Region((0, 0, 0), (64, 64, 3)), (64, 64))
