"""Ways to tell tissue from glass: pure functions from a picture to a mask, by name.

A segmenter says where stain is. Ink, gaps, specks and holes are dealt with afterwards, the same for all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from .picture import Picture

SMOOTH_UM = 8.0
GREY = 0.1
"""Optical density up to which what absorbs all colours alike is dirt, a shadow or the coverslip."""

WINDOW_UM, WINDOW_PX = 64.0, 5
"""Side of the window in which texture is measured, about one fat cell so that it holds some wall; and its
least size in px, so that a deviation can be told from it."""

TEXTURE = 0.008
"""Standard deviation of stain in a window, in optical density, above which something is there. Glass of
the slides this was tried on has 0.001 to 0.003, fat 0.01 to 0.05."""

PALE = 0.012
"""Mean stain in a window, in optical density above the glass: walls too thin to be seen one by one."""

DENSITY = (0.025, 0.12)
SATURATION = (0.05, 0.15)
BRIGHTNESS = (0.06, 0.5)
"""Signals below which nothing, and above which everything, is tissue: optical density and saturation on
bright glass, brightness 0 to 1 on black."""

Mask = NDArray[np.bool_]
Segmenter = Callable[[Picture], Mask]


def otsu(picture: Picture) -> Mask:
    """Stained tissue, by Otsu's threshold on optical density (Otsu 1979).

    Grey dirt and shadows absorb all colours alike; stains do not. So the spread between the channels
    counts fully and the mean density half, above what dirt has.
    """
    red, green, blue = picture.density
    signal = red + green
    signal += blue
    signal -= 3 * GREY
    np.maximum(signal, 0, out=signal)
    signal /= 6
    signal += picture.spread
    return _above(signal, picture, DENSITY)


def hsv(picture: Picture) -> Mask:
    """Coloured tissue, by Otsu's threshold on the saturation of HSV; misses grey and near-black tissue."""
    red, green, blue = picture.channels
    darkest = np.minimum(np.minimum(red, green), blue)
    saturation = 1 - darkest / np.maximum(picture.brightest, 1)
    return _above(saturation.astype(np.float32), picture, SATURATION)


def entropy(picture: Picture) -> Mask:
    """Pale and fatty tissue, by its texture: empty glass is smooth, thin walls between fat cells are not.

    The differential entropy of a normal distribution is the logarithm of its standard deviation and a
    constant (Cover and Thomas 2006, example 8.1.2), so the threshold is on the local standard deviation.
    What is measured is the spread between the channels: grey dirt and the coverslip's edge have none.
    """
    small = picture.half
    side = max(WINDOW_PX, 2 * round(WINDOW_UM / small.spacing / 2) + 1)
    mean = ndimage.uniform_filter(small.spread, side)
    variance = ndimage.uniform_filter(small.spread**2, side) - mean**2
    pale = mean - np.percentile(small.sampled(mean), 5) > PALE
    # A window sees a wall half its width away: what only the rim of the windows saw is taken back.
    return picture.enlarge(ndimage.minimum_filter((variance > TEXTURE**2) | pale, side))


def auto(picture: Picture) -> Mask:
    """Stained tissue or textured tissue: H&E, IHC, pale sections and fat."""
    return otsu(picture) | entropy(picture)


def dark(picture: Picture) -> Mask:
    """Fluorescence on black, by Otsu's threshold on the brightest channel."""
    return _above((picture.brightest / 255).astype(np.float32), picture, BRIGHTNESS)


BY_NAME: dict[str, Segmenter] = {
    "auto": auto,
    "otsu": otsu,
    "hsv": hsv,
    "entropy": entropy,
    "dark": dark,
}


def _above(signal: NDArray[np.float32], picture: Picture, certain: tuple[float, float]) -> Mask:
    floor, ceiling = certain
    smooth = _smoothed(signal, SMOOTH_UM / picture.spacing)
    # Above the ceiling all is tissue: clipped there, dark tissue cannot pull Otsu's threshold
    # through pale tissue. Otsu finds two classes in the noise of empty glass too: hence the floor.
    split = threshold_otsu(picture.sampled(smooth).clip(0, ceiling))
    return np.asarray(smooth > max(floor, float(split)))


def _smoothed(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Under a Gaussian of `sigma` px, cut at two of them; a few whole-array additions, where SciPy calls
    a general filter per line and takes four times as long."""
    radius = round(2 * sigma)
    weights = np.exp(-0.5 * (np.arange(radius + 1, dtype=np.float32) / max(sigma, 1e-6)) ** 2)
    weights /= 2 * weights.sum() - weights[0]
    for _ in range(2):  # along the rows, then along the columns
        framed = np.pad(values, ((radius, radius), (0, 0)), mode="edge")
        size = len(values)
        values = framed[radius : radius + size] * weights[0]
        for step in range(1, radius + 1):
            pair = framed[radius - step :][:size] + framed[radius + step :][:size]
            pair *= weights[step]
            values += pair
        values = values.T
    return values
