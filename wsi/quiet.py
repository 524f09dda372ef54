"""Silence where a library's log would carry a slide's free text out of the file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

_here = threading.local()
_pydicom = threading.Lock()


def silent_tifffile() -> AbstractContextManager[None]:
    """Drops what tifffile logs in this thread: it quotes a header's bytes where they are no UTF-8."""
    return _silent("tifffile")


def silent_pillow() -> AbstractContextManager[None]:
    """Drops what Pillow logs in this thread: it quotes every tag of EXIF and TIFF for debugging."""
    return _silent("PIL.TiffImagePlugin", "PIL.PngImagePlugin")


@contextmanager
def _silent(*loggers: str) -> Iterator[None]:
    for name in loggers:
        logging.getLogger(name).addFilter(_allowed)
    before = getattr(_here, "silent", False)
    _here.silent = True
    try:
        yield
    finally:
        _here.silent = before


@contextmanager
def silent_pydicom() -> Iterator[None]:
    """Stops pydicom from checking values: it warns of an odd one by quoting it, and where a length
    is damaged that one value is most of the header. The setting is global, hence the lock.
    """
    from pydicom import config

    with _pydicom:
        before = config.settings.reading_validation_mode
        config.settings.reading_validation_mode = config.IGNORE
        try:
            yield
        finally:
            config.settings.reading_validation_mode = before


def _allowed(_record: logging.LogRecord) -> bool:
    return not getattr(_here, "silent", False)
