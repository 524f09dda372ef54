"""Whole-slide pathology from gigapixel slides to slide-level grades, in true microns."""

__version__ = "0.1.0"
