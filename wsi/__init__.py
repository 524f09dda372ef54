"""A slide file as pyramid levels, microns and pixels."""

from .levels import Level
from .slide import Slide, open_slide

__all__ = ["Level", "Slide", "open_slide"]
