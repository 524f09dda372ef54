"""A CT or MR volume as a source of patches."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import SpacingTooFine, UsageError
from ..geometry import Region
from ..identity import How, content_identity
from ..status import read_one_by_one
from .cache import SliceCache
from .choice import Asked, ScalingChoice
from .grid import spacing_mm
from .intensity import Scaling, Window
from .orientation import axis_codes, turn_to_view
from .resample import Box, inside, resample
from .stack import Affine, Plane, Stack
from .survey import Survey, first_readable, survey

SLAB = 3
ROUNDING = 1e-5
"""Spacings come as 32-bit floats and are shown with six digits."""


def open_volume(path: Path, window: Window | None = None, scaling: Asked = "auto") -> Volume:
    """Open a NIfTI file (.nii, .nii.gz), a folder with one DICOM series, or one file of a series.

    Headers only: voxels are read when they are asked for.

    Args:
        path: the file or folder.
        window: grey-level window to read with; by default soft tissue for CT, the 1st to the 99th
            percentile of the body for MR.
        scaling: `ct` or `mr`; `auto` goes by DICOM's modality. NIfTI names none: `auto` then means
            `ct` where a window is given, else the rule of `kind_of_values`. `describe` records what
            was chosen and by which rule.

    Raises:
        InputNotFound, UnsupportedFormat, Truncated, BadGeometry, MppImplausible, LimitExceeded: what
            was found, without a word of the patient's.
        InputError: the folder holds several series.
        UsageError: an unknown `scaling`.
        MissingExtra: the `radiology` extra is not installed.
    """
    if scaling not in ("auto", "ct", "mr"):
        raise UsageError(f"Unknown scaling {scaling!r}.", "Use auto, ct or mr.")
    path = Path(path)
    if path.name.lower().endswith((".nii", ".nii.gz")):
        from .nifti import NiftiStack

        return Volume(NiftiStack(path), window, scaling)
    from .dicom import DicomStack
    from .series import headers_of_series

    return Volume(DicomStack(headers_of_series(path)), window, scaling)


class Volume:
    """Voxels in the viewing convention of their slices (see `orientation`); a `PatchSource`.

    x and y run along the columns and rows of a slice as shown, z from slice to slice. The stored
    axes may be mirrored or swapped against these: `to_stored` converts. Safe to read from several
    threads.
    """

    def __init__(self, stack: Stack, window: Window | None = None, scaling: Asked = "auto") -> None:
        self._stack = stack
        self._choice = ScalingChoice(stack.modality, scaling, window)
        self._turn = turn_to_view(stack.affine)
        self._cache = SliceCache(self._decode, 4 * self.size[0] * self.size[1])
        self._survey: Survey | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget every voxel held in memory."""
        self._cache.clear()
        self._stack.close()

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along (x, y, z)."""
        return self._turn.size(self._stack.shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Microns (not mm) per voxel along (x, y, z)."""
        x, y, z = (1000.0 * mm for mm in spacing_mm(self.affine))
        return x, y, z

    @property
    def affine(self) -> Affine:
        """4x4, voxel index (x, y, z, 1) -> patient position in mm; x, y, z to right, front, head (RAS)."""
        return np.asarray(self._stack.affine @ self.to_stored)

    @property
    def to_stored(self) -> Affine:
        """4x4, voxel index (x, y, z, 1) of this volume -> the voxel's index in the file's own axes."""
        return self._turn.matrix(self._stack.shape)

    @property
    def orientation(self) -> str:
        """Where x, y and z point, nearest patient axes: `LPS` for axial slices."""
        return axis_codes(self.affine)

    @property
    def modality(self) -> str:
        """`CT`, `MR`, or `unknown` (NIfTI)."""
        return self._stack.modality

    @property
    def bounds(self) -> Region:
        """The whole volume."""
        x, y, z = self.size
        return Region((0, 0, 0), (x, y, z))

    @property
    def scaling(self) -> Scaling:
        """How values become 0..1. May take one pass over the volume, once."""
        return self._choice.without_voxels() or self._surveyed().scaling

    @property
    def mask_step(self) -> int:
        """Voxels per cell of `body_mask`, along x and y."""
        return self._surveyed().step

    def body_mask(self) -> NDArray[np.bool_]:
        """Where the patient is: bool (D, h, w), at most 128 cells along x and y.

        Cell (k, j, i) stands for slice k and the voxels i * `mask_step` to (i + 1) * `mask_step`
        along x, j likewise along y. Table and air are outside, lungs and bowel gas inside.
        """
        return self._surveyed().mask

    def read(self, region: Region, out_size: tuple[int, int]) -> NDArray[np.float32]:
        """A region as float32 (D, H, W, 1) in 0..1, resampled in plane, never across slices.

        D is the region's extent along z, rounded: whole slices from the nearest to its origin on.
        Slices beyond the last repeat it (and before the first, the first); pixels beyond a slice's
        edge are 0.

        Args:
            region: in voxels, 3 axes.
            out_size: (W, H) in px.

        Raises:
            ReadFailed: a slice cannot be decoded.
        """
        planes = [self._part(z, region, out_size) for z in self._slices(region)]
        return np.stack(planes)[..., None]

    def read_patch(self, region: Region, out_size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """Three neighbouring slices as the channels of one picture, uint8 (H, W, 3).

        A region of extent 3 along z fills the channels with its slices in order; where fewer exist
        (the volume's last slices, a thinner region) the last one is repeated.

        Returns:
            None where the region lies wholly outside the volume.

        Raises:
            ReadFailed: a slice cannot be decoded.
        """
        if any(e <= 0 or o >= n for o, e, n in zip(region.origin, region.end, self.size, strict=True)):
            return None
        slices = list(dict.fromkeys(self._slices(region)))
        if len(slices) > SLAB:
            raise ValueError(f"a patch has {SLAB} slices, the region {len(slices)}")
        planes = [_to_uint8(self._part(z, region, out_size)) for z in slices]
        return np.stack(planes + planes[-1:] * (SLAB - len(planes)), axis=-1)

    def read_patches(self, regions: Sequence[Region], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One patch per region into `out`, uint8 (B, H, W, 3); returns the status (B,): see `PatchSource`."""
        return read_one_by_one(self.read_patch, regions, out)

    def thumbnail(self, max_px: int) -> NDArray[np.uint8]:
        """The middle slice, grey, uint8 (H, W, 3), at most `max_px` on its longer side, never enlarged.

        Where the middle slice cannot be decoded, the nearest one that can.
        """
        x, y, _ = self.size
        scale = min(1.0, max_px / max(x, y))
        out = max(1, round(x * scale)), max(1, round(y * scale))
        values = resample(first_readable(self._cache.get, self.size[2]), (0, 0, x, y), out)
        return np.repeat(_to_uint8(self.scaling.apply(values))[..., None], 3, axis=-1)

    def check_spacing(self, spacing_um: float, max_upsampling: float = 0.05) -> None:
        """Refuse a patch spacing (µm per px) finer than the slices by more than the tolerance.

        Raises:
            SpacingTooFine: with both spacings, in mm.
        """
        voxel = max(self.spacing[:2])
        if voxel > spacing_um * (1 + max_upsampling) * (1 + ROUNDING):
            raise SpacingTooFine(
                f"Patches at {spacing_um / 1000:g} mm per px are finer than voxels of {voxel / 1000:g} mm.",
                f"Use --volume-mm {voxel / 1000:g} or more, or --allow-upsampling.",
            )

    def identity(self, how: How = "fast") -> str:
        """Content hash of the files, in the order of the slices, see `content_identity`."""
        return content_identity(self._stack.paths, how)

    def describe(self) -> dict[str, Any]:
        """JSON facts, nothing about a patient. May take one pass over the volume, once."""
        return {
            "kind": "volume",
            "format": self._stack.format,
            "size": list(self.size),
            "spacing": list(self.spacing),
            "identity": self.identity(),
            "modality": self.modality,
            "orientation": self.orientation,
            "scaling": self.scaling.to_dict(),
            "affine": self.affine.tolist(),
            "to_stored": self.to_stored.tolist(),
        }

    def _decode(self, z: int) -> Plane:
        stored = self.size[2] - 1 - z if self._turn.mirror[2] else z
        return self._turn.plane(self._stack.plane(stored))

    def _slices(self, region: Region) -> NDArray[np.intp]:
        first, count = round(region.origin[2]), max(1, round(region.extent[2]))
        return np.clip(np.arange(first, first + count), 0, self.size[2] - 1)

    def _part(self, z: int, region: Region, out_size: tuple[int, int]) -> Plane:
        box: Box = (*region.origin[:2], *region.end[:2])  # type: ignore[assignment]
        plane = self._cache.get(z)
        scaled = self.scaling.apply(resample(plane, box, out_size))
        return np.where(inside(plane.shape, box, out_size), scaled, np.float32(0))

    def _surveyed(self) -> Survey:
        with self._lock:
            if self._survey is None:
                self._survey = survey(self._cache.get, self.size, self._choice)
            return self._survey


def _to_uint8(values: Plane) -> NDArray[np.uint8]:
    return np.round(values * 255).astype(np.uint8)
