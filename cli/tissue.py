"""`tissue`: what would be taken, or was taken, for tissue; pictures, regions and a table, no embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SlidestreamError, UsageError
from .options import Inputs, Json, ReaderMemory, Roi, RoiClass, Segmenter, SlideMpp, Timeout
from .output import note, say, show_failures, show_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..cohort.config import Execution
    from ..cohort.glance import Wanted
    from ..cohort.inputs import Input
    from ..features.store import Store
    from ..tiling.annotations import Annotation

TABLE, PAGE = "tissue.csv", "index.html"


@dataclass(frozen=True)
class _Seen:
    """One slide: a picture of it (h, w, 3), its tissue as regions, and its row of the table."""

    slide_id: str
    picture: NDArray[np.uint8]
    tissue: Sequence[Annotation]
    row: dict[str, Any]


@dataclass(frozen=True)
class _Failed:
    """One slide that could not be looked at; `exit_code` is what that means for the command."""

    slide_id: str
    code: str
    cause: str
    fix: str
    exit_code: int


def _failed(slide_id: str, error: SlidestreamError) -> _Failed:
    return _Failed(slide_id, error.code, error.cause, error.fix, error.exit_code)


def tissue(
    inputs: Inputs,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the pictures.")],
    segmenter: Segmenter = None,
    roi: Roi = None,
    roi_class: RoiClass = None,
    slide_mpp: SlideMpp = None,
    timeout: Timeout = None,
    reader_memory: ReaderMemory = None,
    json: Json = False,
) -> None:
    """Show what is tissue: of slides before a run, or of a run folder with the patches that were read.

    Per slide a picture and the tissue as GeoJSON for QuPath; index.html, contact sheets and tissue.csv.
    """
    from ..cohort.config import Execution
    from ..cohort.glance import Wanted
    from ..cohort.inputs import find_inputs
    from ..cohort.regions import check_regions
    from ..tiling.spec import TissueSpec

    if len(inputs) == 1 and _is_run(inputs[0]):
        if segmenter or roi or roi_class or slide_mpp:
            raise UsageError(
                f"{inputs[0]} is a run folder: its tissue is found already.", "Name slides instead."
            )
        seen = _in_run(inputs[0])
    else:
        found = find_inputs(inputs, slide_mpp).inputs
        check_regions(roi or "", found)
        wanted = Wanted(TissueSpec(segmenter or TissueSpec().segmenter), roi or "", roi_class or "")
        seen = _on_slides(found, wanted, Execution.given(timeout=timeout, memory_gb=reader_memory))
    out.mkdir(parents=True, exist_ok=True)
    _write(seen, out, json)


def _is_run(path: Path) -> bool:
    from ..features.layout import list_stores

    return (path / "slidestream.yaml").exists() or bool(list_stores(path))


def _in_run(run: Path) -> Iterator[_Seen | _Failed]:
    from ..features.layout import list_stores, slide_id_of
    from ..features.store import open_store

    for path in list_stores(run):
        try:
            yield _of_store(open_store(path))
        except SlidestreamError as error:
            yield _failed(slide_id_of(path), error)


def _of_store(store: Store) -> _Seen:
    from ..cohort.qc import quality_row
    from ..report.outline import outline
    from ..tiling.annotations import tissue_annotations

    attributes = store.attributes
    slide = attributes["source"]["kind"] == "slide"
    regions = tissue_annotations(store.mask() > 0, attributes["source"]["size"]) if slide else []
    return _Seen(store.slide_id, outline(store), regions, quality_row(store))


def _on_slides(items: Sequence[Input], wanted: Wanted, limits: Execution) -> Iterator[_Seen | _Failed]:
    from ..cohort.apart import answers
    from ..cohort.glance import ask_glance
    from ..cohort.job import open_source
    from ..report.outline import outlined

    asked = ((item, ask_glance(item, open_source, wanted)) for item in items)
    for item, answer in answers(asked, limits):
        if answer.error:
            yield _failed(item.slide_id, answer.error)
            continue
        look = answer.value
        row = {"slide_id": item.slide_id} | (asdict(look.quality) if look.quality else {})
        yield _Seen(item.slide_id, outlined(look.thumbnail, look.footprint), look.tissue, row)


def _write(seen: Iterable[_Seen | _Failed], out: Path, json: bool) -> None:
    from ..report.cohort_page import write_cohort_page
    from ..report.contact import ContactSheets

    rows: list[tuple[str, dict[str, Any]]] = []
    failed: list[_Failed] = []
    with ContactSheets(out) as sheets:
        for one in seen:
            note(one.slide_id)
            if isinstance(one, _Failed):
                failed.append(one)
                continue
            rows.append((_write_slide(one, out), one.row))
            sheets.add(one.picture, one.slide_id, _facts(one.row))
    write_cohort_page(out / PAGE, rows, failed)
    _report([row for _, row in rows], failed, out, json)


def _write_slide(one: _Seen, out: Path) -> str:
    """Write the picture and the regions of a slide; the name of the picture."""
    from ..features.layout import store_path
    from ..report.outline import save_picture
    from ..tiling.annotations import write_annotations

    name = store_path(out, one.slide_id).stem  # as safe and distinct as that of a store
    save_picture(one.picture, out / f"{name}.png")
    if one.tissue:
        write_annotations(out / f"{name}.geojson", one.tissue)
    return f"{name}.png"


def _facts(row: dict[str, Any]) -> str:
    if "tissue_mm2" not in row:
        return ""
    inked = [name for name in ("black", "red", "green", "blue") if row[f"pen_{name}_mm2"] > 0]
    return f"{row['tissue_mm2']:.1f} mm²" + (f", pen: {', '.join(inked)}" if inked else "")


def _report(rows: list[dict[str, Any]], failed: Sequence[_Failed], out: Path, json: bool) -> None:
    from ..cohort.qc import write_rows

    write_rows(out / TABLE, rows)
    if json:
        shown = ("slide_id", "code", "cause", "fix")
        failures = [{key: getattr(one, key) for key in shown} for one in failed]
        show_json({"out": str(out), "slides": rows, "failures": failures})
    else:
        say(f"{len(rows)} pictures in {out}: tissue green; in run folders patches blue, those not used red.")
        show_failures(failed)
    if failed:
        raise typer.Exit(max(one.exit_code for one in failed))
