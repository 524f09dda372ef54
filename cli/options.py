"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="INPUT...", help="Slide files, folders, or a manifest CSV (path, ...)."),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
HeadFolder = Annotated[Path, typer.Option("--head", help="A head folder made by `slidestream train`.")]
SlideMpp = Annotated[
    float | None,
    typer.Option(
        "--slide-mpp",
        metavar="UM",
        help="The slides' own µm per px at level 0, where the file's is missing or wrong. "
        "Not the patch spacing: that is --mpp.",
    ),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="S", help="Seconds without a sign that fail an input. [default: 120]")
]
ReaderMemory = Annotated[
    float | None, typer.Option(metavar="GB", help="Most memory of a reader process, 0: any. [default: 4]")
]
OutOfFold = Annotated[
    bool, typer.Option("--out-of-fold", help="For training slides, ask only the head that never saw them.")
]
