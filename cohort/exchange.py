"""Whole run folders out to other tools, and folders of theirs in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from ..errors import InputError, SlidestreamError, StoreError, UnsupportedFormat, UsageError
from ..features.exchange import Exchanged, from_store
from ..features.exchange_anndata import write_anndata
from ..features.exchange_files import Found, find_files, label_of, read_found
from ..features.exchange_h5 import write_clam, write_stamp, write_trident
from ..features.imported import Labelled, attributes_of, same_import, write_import
from ..features.layout import SUFFIX, list_stores, slide_id_of, store_path
from ..features.store import open_store
from ..features.verify import missing_part
from ..mil.contract import EmbeddingContract, require_equal
from .config import FILE
from .job import DONE, FAILED, Outcome
from .ledger import Ledger, outcome_of

WRITERS: dict[str, Callable[[Path, str, Exchanged], Path]] = {
    "trident": write_trident,
    "clam": write_clam,
    "stamp": write_stamp,
    "anndata": write_anndata,
}
UP_TO_DATE = "up_to_date"


def export_run(run: Path, form: str, out: Path) -> Iterator[Outcome]:
    """Write every store of a run folder as another tool keeps it; each slide's outcome.

    Raises:
        UsageError: no such format, or no stores.
        EnvironmentProblem: no space, or h5py is not installed.
    """
    if form not in WRITERS:
        raise UsageError(f"There is no format {form!r}.", f"Use one of {', '.join(WRITERS)}.")
    stores = list_stores(run)
    if not stores:
        raise UsageError(f"{run} holds no stores.", "Name a folder made by `slidestream run`.")
    return (_exported(path, form, out) for path in stores)


def _exported(path: Path, form: str, out: Path) -> Outcome:
    slide_id = slide_id_of(path)
    try:
        store = open_store(path)
        if not store.attributes["encoder"]["dim"]:
            raise UnsupportedFormat(f"Slide {slide_id} was run without embeddings (encoder null).")
        _check_fits(store.attributes, form)
        bag = from_store(store, form)
        WRITERS[form](out, path.name.removesuffix(SUFFIX), bag)
    except (InputError, StoreError) as error:
        return _failed(slide_id, error)
    return Outcome(slide_id, DONE, len(bag.features))


def _check_fits(attributes: dict[str, object], form: str) -> None:
    """The formats in HDF5 are of slides, and need to know how large a pixel is."""
    source = attributes["source"]
    assert isinstance(source, dict)
    if form != "anndata" and source["kind"] != "slide":
        raise UnsupportedFormat(f"{form} knows no volumes.", "Use --format anndata.")
    patch = attributes["patch"]
    assert isinstance(patch, dict)
    if form in ("trident", "stamp") and not (source["spacing"][0] and patch["size_px"] and patch["spacing"]):
        raise UnsupportedFormat(
            "Its patch size or µm per px are not known, since it was imported.",
            "Use --format clam or anndata.",
        )


def import_folder(folder: Path, run: Path, label: str = "", slide_mpp: float = 0.0) -> Iterator[Outcome]:
    """Make stores of the embeddings below a folder; each slide's outcome. What is there already is kept.

    Args:
        folder: with files of TRIDENT, CLAM, STAMP or AnnData.
        run: the run folder to make, or one made by an earlier import.
        label: what these embeddings are called; by default after their content.
        slide_mpp: µm per px of the slides at level 0, where it is known.

    Raises:
        UsageError: nothing to import, or `run` was computed, not imported, or has another label.
        ContractMismatch: a file holds other embeddings than the run folder.
        EnvironmentProblem: no space, or h5py is not installed.
    """
    found = find_files(folder)
    label = _bind(run, label, found)
    said = Labelled(label, slide_mpp)
    with Ledger(run) as ledger:
        for item in found:
            outcome = _imported(item, run, said)
            ledger.record(replace(outcome, status=DONE) if outcome.status == UP_TO_DATE else outcome, None)
            yield outcome


def _bind(run: Path, label: str, found: Sequence[Found]) -> str:
    """Mark the run folder as one of imports; returns the label that holds there."""
    path = run / FILE
    if path.exists():
        document = yaml.safe_load(path.read_text())
        known = document.get("imported", {}).get("label") if isinstance(document, dict) else None
        if not known or label not in ("", known):
            what = f"was imported as {known}" if known else "was computed here"
            raise UsageError(f"{run} {what}.", "Import into another folder with -o.")
        return str(known)
    if list_stores(run):
        raise UsageError(f"{run} was computed here.", "Import into another folder with -o.")
    label = label or label_of(found)
    run.mkdir(parents=True, exist_ok=True)
    beside = run / f".{FILE}.{os.getpid()}"
    beside.write_text(yaml.safe_dump({"schema": 1, "imported": {"label": label}}))
    beside.replace(path)
    return label


def _imported(item: Found, run: Path, said: Labelled) -> Outcome:
    try:
        bag = read_found(item)
        attributes = attributes_of(bag, said)
        contract = EmbeddingContract.from_attributes(attributes)
        place = store_path(run, bag.slide_id)
        if _is_there(place, attributes):
            return replace(outcome_of(open_store(place)), status=UP_TO_DATE)
        _require_alike(run, contract, bag.slide_id)
        write_import(place, bag, attributes)
        return outcome_of(open_store(place))
    except (InputError, StoreError) as error:
        return _failed(item.slide_id, error)


def _is_there(place: Path, attributes: dict[str, object]) -> bool:
    try:
        return same_import(open_store(place), attributes) and not missing_part(place)
    except StoreError:
        return False


def _require_alike(run: Path, contract: EmbeddingContract, slide_id: str) -> None:
    """Embeddings of different contracts never mix, not even in a folder."""
    for path in list_stores(run):
        try:
            first = open_store(path)
        except StoreError:
            continue
        require_equal(EmbeddingContract.from_attributes(first.attributes), contract, f"Slide {slide_id}")
        return


def _failed(slide_id: str, error: SlidestreamError) -> Outcome:
    return Outcome(slide_id, FAILED, code=error.code, cause=error.cause, fix=error.fix)
