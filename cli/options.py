"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="INPUT...", help="Slide files, folders, URLs, or a manifest CSV (path, ...)."),
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
Workers = Annotated[int | None, typer.Option(metavar="N", help="Reader threads. [default: number of cores]")]
Readers = Annotated[
    int | None,
    typer.Option(metavar="N", help="Reader processes; 0 reads unprotected, in this one. [default: 2]"),
]
BatchSize = Annotated[
    int | None, typer.Option(metavar="N", help="Patches encoded at once. [default: 32; what pays on a GPU]")
]
Device = Annotated[str, typer.Option(metavar="D", help="cpu, cuda, cuda:1, or auto.")]
Devices = Annotated[
    str,
    typer.Option("--device", metavar="D", help="cpu, cuda, several as cuda:0,cuda:1, or auto for all GPUs."),
]
Dask = Annotated[
    str, typer.Option("--dask", metavar="ADDRESS", help="A Dask scheduler: one task per input, same stores.")
]
Timeout = Annotated[
    float | None, typer.Option(metavar="S", help="Seconds without a sign that fail an input. [default: 120]")
]
ReaderMemory = Annotated[
    float | None, typer.Option(metavar="GB", help="Most memory of a reader process, 0: any. [default: 4]")
]
Segmenter = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How tissue is found: auto, otsu, hsv, entropy, or dark for fluorescence. [default: auto]",
    ),
]
Roi = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="GeoJSON as from QuPath, or a folder of SLIDE.geojson. Class Tissue takes the place of what "
        "would be found, Ignore* is taken out, other regions limit it.",
    ),
]
RoiClass = Annotated[
    str | None, typer.Option(metavar="CLASS", help="Limit to regions of this class only. [default: any]")
]
OutOfFold = Annotated[
    bool, typer.Option("--out-of-fold", help="For training slides, ask only the head that never saw them.")
]
Covariates = Annotated[
    Path | None,
    typer.Option(
        "--covariates", metavar="CSV", help="Column slide and those that the head takes besides the slide."
    ),
]
Encoder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A name of `slidestream encoders`, timm:NAME, or a YAML card. Several times: pixels are read "
        "once for all of them, and each has its run folder in RUN. [default: texture]",
    ),
]
