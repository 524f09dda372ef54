"""`export` and `import`: embeddings to and from TRIDENT, CLAM, STAMP and AnnData."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .options import Json, RunFolder
from .output import say, show_failures, show_json

if TYPE_CHECKING:
    from ..cohort.job import Outcome


def export(
    run: RunFolder,
    form: Annotated[str, typer.Option("--format", metavar="F", help="trident, clam, stamp or anndata.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder to write to.")],
    json: Json = False,
) -> None:
    """Write the embeddings of a run as another tool reads them: one file per slide."""
    from ..cohort.exchange import export_run

    _report(out, export_run(run, form, out), json)


def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of TRIDENT, CLAM, STAMP or AnnData.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="The run folder to make.")],
    label: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Say that imports under this name were made alike, so that heads take them all.",
        ),
    ] = "",
    slide_mpp: Annotated[
        float, typer.Option("--slide-mpp", metavar="UM", help="µm per px of all slides at level 0.")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Make a run folder of embeddings that another tool computed; what is unknown of them stays unknown."""
    from ..cohort.exchange import import_folder

    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    if slide_mpp and not 0.05 <= slide_mpp <= 20:
        raise UsageError(f"--slide-mpp {slide_mpp} is outside 0.05 to 20 µm.")
    _report(out, import_folder(folder, out, label, slide_mpp), json)


def _report(out: Path, outcomes: Iterable[Outcome], json: bool) -> None:
    ended = list(outcomes)
    counts = Counter(outcome.status for outcome in ended)
    failures = [outcome for outcome in ended if outcome.code]
    if json:
        rows = [outcome.to_dict() for outcome in ended]
        show_json({"out": str(out), "counts": dict(counts), "outcomes": rows})
    else:
        told = [f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.items())]
        say(f"{out}: {', '.join(told)}.")
        show_failures(failures)
    if failures:
        raise typer.Exit(3)
