"""What the user asks for of a patch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..spec import Spec


@dataclass(frozen=True)
class PatchSpec(Spec):
    """A patch in physical units, the same for every scanner.

    Attributes:
        size_px: side of the square patch handed to the encoder, in px.
        spacing: of that patch, in µm per px: its field of view is `size_px * spacing` microns.
        overlap: fraction of a patch shared with its neighbour along each in-plane axis, 0 to below 1.
        min_tissue: least fraction of the patch that must be tissue, 0 to 1; 0 keeps every patch.
        padding: keep patches that overhang the right and bottom edge, completed with white.
        max_upsampling: by how much the spacing may be finer than the finest level; 0.05 is 5 %.
    """

    size_px: int = 224
    spacing: float = 1.0
    overlap: float = 0.0
    min_tissue: float = 0.25
    padding: bool = False
    max_upsampling: float = 0.05

    def __post_init__(self) -> None:
        checks = [
            (self.size_px >= 1, f"patch size {self.size_px} must be at least 1 px"),
            (self.spacing > 0, f"patch spacing {self.spacing} must be above 0 µm"),
            (0 <= self.overlap < 1, f"overlap {self.overlap} must be at least 0 and below 1"),
            (0 <= self.min_tissue <= 1, f"min_tissue {self.min_tissue} must be between 0 and 1"),
            (self.max_upsampling >= 0, f"max_upsampling {self.max_upsampling} must not be negative"),
        ]
        for holds, message in checks:
            if not holds:
                raise UsageError(f"The {message}.")
