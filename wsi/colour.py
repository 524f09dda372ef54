"""Colours as the scanner meant them: from its ICC profile to sRGB."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ..errors import UnsupportedFormat

Pixels = NDArray[np.uint8]


class ToSrgb:
    """Colours of one device to sRGB (IEC 61966-2-1), relative colorimetric with black point compensation.

    White stays white with this intent: glass looks the same on every scanner. The computation is that of
    Little CMS. May be used by several threads at once.

    Args:
        profile: an ICC profile (ISO 15076-1) of an RGB device, as stored in the slide.

    Raises:
        UnsupportedFormat: the profile is damaged, or of no RGB device.
    """

    def __init__(self, profile: bytes) -> None:
        try:
            device = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            self._transform = ImageCms.ImageCmsTransform(
                device,
                ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
                "RGB",
                "RGB",
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (OSError, ImageCms.PyCMSError):
            raise UnsupportedFormat(
                "The colour profile of the slide is damaged or not of an RGB device.",
                "Leave out --icc for this slide.",
            ) from None

    def __call__(self, pixels: Pixels) -> Pixels:
        """The same picture (H, W, 3) in sRGB."""
        return np.asarray(self._transform.apply(Image.fromarray(pixels)))
