"""`demo`: a synthetic cohort through exactly the code a user's slides go through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to make or to go on with.")],
    slides: Annotated[int, typer.Option(help="How many slides to draw; at least 16.", min=16)] = 24,
    side_px: Annotated[int, typer.Option(help="Side of a slide in px.", min=2000)] = 8000,
    json: Json = False,
) -> None:
    """Draw a cohort of two grades, run, train, predict out of fold, and draw heatmaps. No data needed."""
    from ..cohort.synthetic_spec import CohortSpec
    from .demonstration import demonstrate

    demonstrate(out, CohortSpec(slides=slides, side_px=side_px), json)
