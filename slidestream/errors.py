"""Every error slidestream raises on purpose, in one tree with a stable code each.

SlidestreamError
├── UsageError                  USAGE                 the command line or the configuration is wrong
│   └── ContractMismatch        CONTRACT_MISMATCH     a head or run folder meets other embeddings
├── InputError                  INPUT                 one slide or volume fails, the others go on
│   ├── InputNotFound           INPUT_NOT_FOUND
│   ├── UnsupportedFormat       UNSUPPORTED_FORMAT
│   ├── Truncated               TRUNCATED
│   ├── MppMissing              MPP_MISSING
│   ├── MppImplausible          MPP_IMPLAUSIBLE
│   ├── SpacingTooFine          SPACING_TOO_FINE
│   ├── TooSmall                TOO_SMALL
│   ├── LimitExceeded           LIMIT
│   ├── DecoderCrash            DECODER_CRASH         reading it ended the process that read
│   ├── ReadFailed              READ_FAILED           one region cannot be decoded
│   ├── Unreadable              UNREADABLE            too many regions cannot be decoded
│   ├── StainUnfit              STAIN_UNFIT           its colours cannot be normalised
│   ├── BadGeometry             BAD_GEOMETRY          a volume whose slices do not form a regular grid
│   ├── NotBrightfield          NOT_BRIGHTFIELD       a segmenter for stained glass meets fluorescence
│   ├── NotFluorescence         NOT_FLUORESCENCE      and the other way round
│   └── BadAnnotation           BAD_ANNOTATION        a GeoJSON file that holds no usable regions
├── StoreError                  STORE
│   ├── StoreIncomplete         STORE_INCOMPLETE
│   └── StoreCorrupt            STORE_CORRUPT
└── EnvironmentProblem          ENVIRONMENT           disk, GPU, model weights or a missing extra
    ├── MissingExtra            MISSING_EXTRA
    ├── WeightsMissing          WEIGHTS_MISSING       an encoder whose weights are not on this machine
    ├── WeightsChanged          WEIGHTS_CHANGED       weights that are not those of the card or the first use
    └── DiskFull                DISK_FULL
"""

from __future__ import annotations

from typing import ClassVar


class SlidestreamError(Exception):
    """Root of the tree.

    Args:
        cause: one sentence, what was found.
        fix: one sentence, what the user can do about it; may be empty.
    """

    code: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1

    def __init__(self, cause: str, fix: str = "") -> None:
        super().__init__(cause, fix)
        self.cause = cause
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.code}: {self.cause}" + (f" Fix: {self.fix}" if self.fix else "")


class UsageError(SlidestreamError):
    code = "USAGE"
    exit_code = 2


class ContractMismatch(UsageError):
    code = "CONTRACT_MISMATCH"


class InputError(SlidestreamError):
    code = "INPUT"
    exit_code = 3


class InputNotFound(InputError):
    code = "INPUT_NOT_FOUND"


class UnsupportedFormat(InputError):
    code = "UNSUPPORTED_FORMAT"


class Truncated(InputError):
    code = "TRUNCATED"


class MppMissing(InputError):
    code = "MPP_MISSING"


class MppImplausible(InputError):
    code = "MPP_IMPLAUSIBLE"


class SpacingTooFine(InputError):
    code = "SPACING_TOO_FINE"


class TooSmall(InputError):
    code = "TOO_SMALL"


class LimitExceeded(InputError):
    code = "LIMIT"


class DecoderCrash(InputError):
    code = "DECODER_CRASH"


class ReadFailed(InputError):
    code = "READ_FAILED"


class Unreadable(InputError):
    code = "UNREADABLE"


class StainUnfit(InputError):
    code = "STAIN_UNFIT"


class BadGeometry(InputError):
    code = "BAD_GEOMETRY"


class NotBrightfield(InputError):
    code = "NOT_BRIGHTFIELD"


class NotFluorescence(InputError):
    code = "NOT_FLUORESCENCE"


class BadAnnotation(InputError):
    code = "BAD_ANNOTATION"


class StoreError(SlidestreamError):
    code = "STORE"
    exit_code = 4


class StoreIncomplete(StoreError):
    code = "STORE_INCOMPLETE"


class StoreCorrupt(StoreError):
    code = "STORE_CORRUPT"


class EnvironmentProblem(SlidestreamError):
    code = "ENVIRONMENT"
    exit_code = 5


class MissingExtra(EnvironmentProblem):
    code = "MISSING_EXTRA"


class WeightsMissing(EnvironmentProblem):
    code = "WEIGHTS_MISSING"


class WeightsChanged(EnvironmentProblem):
    code = "WEIGHTS_CHANGED"


class DiskFull(EnvironmentProblem):
    code = "DISK_FULL"
