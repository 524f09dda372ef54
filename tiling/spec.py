"""What the user asks for of a patch, and of the tissue that patches are taken from."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..spec import Spec
from ..status import RULES

SEGMENTERS = ("auto", "otsu", "hsv", "entropy", "dark")
"""Names of the ways to find tissue; what they do is in `segmenters`."""


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


@dataclass(frozen=True)
class TissueSpec(Spec):
    """How tissue is found on a slide. Sizes are physical.

    Attributes:
        segmenter: one of `SEGMENTERS`; "dark" is for fluorescence, the others for stained sections.
        spacing: of the mask, in µm per px; coarser where the slide's own px are, or to keep to `max_px`.
        max_px: most px on the mask's longer side.
        close_um: gaps in tissue up to twice this wide are closed.
        open_um: threads and specks thinner than twice this are dropped.
        min_fragment_mm2: least area of a piece of tissue.
        max_hole_mm2: holes up to this area are filled, larger ones kept.
        ink: whether pen is looked for and kept out of tissue; false for green or blue stains that are
            taken for pen.
    """

    segmenter: str = "auto"
    spacing: float = 8.0
    max_px: int = 2048
    close_um: float = 24.0
    open_um: float = 12.0
    min_fragment_mm2: float = 0.02
    max_hole_mm2: float = 0.02
    ink: bool = True

    def __post_init__(self) -> None:
        if self.segmenter not in SEGMENTERS:
            raise UsageError(f"There is no segmenter {self.segmenter!r}.", f"Known: {', '.join(SEGMENTERS)}.")
        if self.spacing <= 0 or self.max_px < 1:
            raise UsageError("The spacing and the size of a tissue mask must be above 0.")
        if min(self.close_um, self.open_um, self.min_fragment_mm2, self.max_hole_mm2) < 0:
            raise UsageError("Lengths and areas of a tissue mask must not be negative.")


@dataclass(frozen=True)
class QualitySpec(Spec):
    """Which patches are left out for their quality, and from what on.

    Attributes:
        exclude: names of rules: "pen", "blur".
        max_pen: most of a patch that may be ink, 0 to 1.
        max_blur_um: greatest `focus.blur_um` of a sharp patch. The default lies between what sharp patches
            of real slides have (at most 3.2 in 99 of 100) and the same under a Gaussian of 2 µm (4.4 and
            more in 99 of 100).
    """

    exclude: tuple[str, ...] = ()
    max_pen: float = 0.1
    max_blur_um: float = 3.6

    def __post_init__(self) -> None:
        unknown = [rule for rule in self.exclude if rule not in RULES]
        if unknown:
            raise UsageError(f"There is no rule {unknown[0]!r} to exclude by.", f"Known: {', '.join(RULES)}.")
        if not 0 <= self.max_pen <= 1 or self.max_blur_um <= 0:
            raise UsageError("max_pen must be between 0 and 1, max_blur_um above 0.")
