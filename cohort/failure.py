"""What an error means for an input: always a code, a cause and a fix."""

from __future__ import annotations

import traceback
from pathlib import Path

from ..errors import EnvironmentProblem, InputError, LimitExceeded, SlidestreamError

_REPORT = "This is a defect of slidestream: please report it with the line above."


def coded(error: Exception) -> SlidestreamError:
    """The error itself where its code is about the input or the environment, else one that says as much.

    An unforeseen error becomes INTERNAL, whatever it was: one bad slide costs one slide.
    """
    if isinstance(error, InputError | EnvironmentProblem) or type(error) is SlidestreamError:
        return error
    if isinstance(error, MemoryError):
        return LimitExceeded(
            "It needs more memory than a reader process may take.",
            "If the file is to be trusted, raise --reader-memory.",
        )
    return SlidestreamError(_where(error), _REPORT)


def _where(error: Exception) -> str:
    """Type and place of an unforeseen error, never its message: that may quote a patient's header."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    code = error.code if isinstance(error, SlidestreamError) else type(error).__name__
    return f"{code} in {Path(frame.filename).name}, line {frame.lineno}."
