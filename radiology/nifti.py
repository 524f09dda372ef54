"""A NIfTI file (.nii, .nii.gz) as a stack of slices."""

from __future__ import annotations

import gzip
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadGeometry, InputNotFound, LimitExceeded, MissingExtra, Truncated, UnsupportedFormat
from .grid import check_grid
from .stack import Affine, Plane

GZ_LIMIT = 2 << 30
OFFSET_LIMIT = 1 << 24
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""NIfTI's spatial unit codes: unknown (taken as mm, as every tool of the field does), m, mm, µm."""


@dataclass(frozen=True)
class NiftiLayout:
    """Where the voxels of a NIfTI file lie and what they mean."""

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    affine: Affine = field(repr=False)

    @property
    def plane_bytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        return self.plane_bytes * self.shape[2]


class NiftiStack:
    """Slices of a NIfTI file along its third axis.

    An uncompressed file is read slice by slice. A gzip stream has no entry points (each slice would
    be inflated from the file's start), so a .nii.gz is inflated once, in its stored type, up to 2 GiB.
    """

    format = "nifti"
    modality = "unknown"

    def __init__(self, path: Path) -> None:
        self._layout = nifti_layout(path)
        self._gz = path.name.lower().endswith(".gz")
        self._raw: bytes | None = None
        self._lock = threading.Lock()
        if self._gz and self._layout.bytes > GZ_LIMIT:
            raise LimitExceeded(
                f"{path.name} inflates to {self._layout.bytes / 2**30:.1f} GiB; the limit is 2 GiB.",
                "Decompress it (gunzip): a plain .nii is read slice by slice.",
            )
        if not self._gz and path.stat().st_size < self._layout.offset + self._layout.bytes:
            raise _truncated(path)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._layout.shape

    @property
    def affine(self) -> Affine:
        return self._layout.affine

    @property
    def paths(self) -> list[Path]:
        return [self._layout.path]

    def plane(self, z: int) -> Plane:
        layout = self._layout
        stored = self._from_memory(z) if self._gz else self._from_file(z)
        values = stored.reshape(layout.shape[1], layout.shape[0]).astype(np.float64)
        return (values * layout.slope + layout.intercept).astype(np.float32)

    def close(self) -> None:
        with self._lock:
            self._raw = None

    def _from_file(self, z: int) -> NDArray[Any]:
        layout = self._layout
        at = layout.offset + z * layout.plane_bytes
        count = layout.shape[0] * layout.shape[1]
        stored = np.fromfile(layout.path, layout.dtype, count, offset=at)
        if len(stored) < count:
            raise _truncated(layout.path)
        return stored

    def _from_memory(self, z: int) -> NDArray[Any]:
        with self._lock:
            if self._raw is None:
                self._raw = inflate(self._layout)
            raw = self._raw
        count = self._layout.shape[0] * self._layout.shape[1]
        return np.frombuffer(raw, self._layout.dtype, count, z * self._layout.plane_bytes)


def nifti_layout(path: Path) -> NiftiLayout:
    """Read and check a header; no voxel is touched.

    Raises:
        InputNotFound, Truncated, UnsupportedFormat, BadGeometry: with what was found, never with the
            header's free text, which may name a patient.
    """
    image = _load(path)
    proxy = image.dataobj
    if len(proxy.shape) < 3 or any(n != 1 for n in proxy.shape[3:]):
        raise UnsupportedFormat(f"{path.name} has {len(proxy.shape)} axes {proxy.shape}; a volume has 3.")
    if proxy.dtype.kind not in "iuf" or proxy.dtype.itemsize > 8:
        raise UnsupportedFormat(f"{path.name} holds {proxy.dtype} voxels, not one real number each.")
    if not 0 <= proxy.offset <= OFFSET_LIMIT:
        raise UnsupportedFormat(f"{path.name} keeps its voxels behind {proxy.offset} bytes of header.")
    x, y, z = (int(n) for n in proxy.shape[:3])
    affine = _affine_mm(image.header, path)
    check_grid(affine, (x, y, z))
    return NiftiLayout(
        path, (x, y, z), proxy.dtype, int(proxy.offset), float(proxy.slope), float(proxy.inter), affine
    )


def inflate(layout: NiftiLayout) -> bytes:
    """The voxels of a .nii.gz, in their stored type.

    Raises:
        Truncated: the stream ends early or its checksum does not hold.
    """
    try:
        with gzip.open(layout.path) as stream:
            stream.read(layout.offset)
            raw = stream.read(layout.bytes)
            stream.read(1 << 20)  # reaching the end is what makes gzip compare its checksum
    except (EOFError, OSError, zlib.error):
        raise _truncated(layout.path) from None
    if len(raw) < layout.bytes:
        raise _truncated(layout.path)
    return raw


def _load(path: Path) -> Any:
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError
    except ImportError:
        raise MissingExtra("Reading NIfTI needs nibabel.", "pip install 'slidestream[radiology]'") from None
    if not path.is_file():
        raise InputNotFound(f"There is no file {path.name}.")
    try:
        image = nibabel.load(path)
    except (EOFError, zlib.error, OSError):
        raise _truncated(path) from None
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError, KeyError, OverflowError):
        raise UnsupportedFormat(f"{path.name} has no valid NIfTI header.") from None
    if not isinstance(image, nibabel.Nifti1Image):
        raise UnsupportedFormat(f"{path.name} is a {type(image).__name__}, not a single-file NIfTI.")
    return image


def _affine_mm(header: Any, path: Path) -> Affine:
    """sform before qform, as the standard prefers; a file with neither does not say left from right."""
    if int(header["sform_code"]) > 0:
        affine = header.get_sform()
    elif int(header["qform_code"]) > 0:
        affine = header.get_qform()
    else:
        raise BadGeometry(
            f"{path.name} has neither an sform nor a qform: its orientation is unknown.",
            "Set one with the tool that wrote the file.",
        )
    unit = MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        raise UnsupportedFormat(f"{path.name} has an unknown unit of length.")
    scale = np.diag([unit, unit, unit, 1.0])
    return np.asarray(scale @ np.asarray(affine, dtype=np.float64))


def _truncated(path: Path) -> Truncated:
    return Truncated(f"{path.name} ends before its voxels do, or is damaged.", "Copy or export it again.")
