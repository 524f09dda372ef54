"""Silence where a library's log would carry a slide's free text out of the file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_here = threading.local()
_pydicom = threading.Lock()


@contextmanager
def silent_tifffile() -> Iterator[None]:
    """Drops what tifffile logs in this thread: it quotes a header's bytes where they are no UTF-8."""
    logging.getLogger("tifffile").addFilter(_allowed)
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
