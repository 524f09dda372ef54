"""A head folder: everything a prediction needs, as JSON, CSV and safetensors.

HEAD/
  head.json              contract, train spec, folds by slide, sha256 of the weights; classes and calibration,
                         or of other targets the same for each
  fold-<k>.safetensors   weights of the head that never saw fold k; repeats count on
  known.safetensors      what the training slides look like, so that others are noticed
  predictions.csv        out-of-fold: slide, patient, label, fold, predicted, p_<class>...; of other targets
                         what is known of them, and the columns of `answers`; where bags are of patients,
                         patient and slides come first
  history.jsonl          losses and learning rate of every epoch
  metrics.json           metrics of the heads and of the linear probe, by fold and site, slides left out
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..errors import StoreCorrupt, StoreIncomplete, UsageError
from ..features.store import Store
from ..table import write_table
from .answers import cells_of, columns_of, prefix_of
from .bags import Bags, bag_from_store
from .calibration import Calibration
from .contract import EmbeddingContract
from .covariates import Covariates, Rows, with_covariates
from .crossval import CrossValidation
from .familiarity import TrainingBags
from .heads import Head
from .history import Epoch, json_lines
from .kept import Kept, read_kept, written
from .patients import one_bag
from .registry import head_for
from .spec import TrainSpec

SCHEMA = 3
KNOWN = "known.safetensors"
AGAIN = "Copy the head folder again, or train again."
MALFORMED = (SafetensorError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What JSON of another shape and tensors of another network end in."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training run leaves behind.

    Attributes:
        result: heads, predictions and metrics.
        contract: of the embeddings.
        spec: how the heads were trained.
        members: of every bag, the content identities of its slides, by slide_id.
        left_out: slide_ids by reason: "without_label", "without_store", "without_patches", and of given
            splits "without_split".
        history: every epoch of every fold.
        covariates: what the heads take besides the slide.
    """

    result: CrossValidation
    contract: EmbeddingContract
    spec: TrainSpec
    members: dict[str, dict[str, str]]
    left_out: dict[str, list[str]]
    history: list[Epoch]
    covariates: Covariates

    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds."""
        return {
            **{
                model: {name: estimate.to_dict() for name, estimate in estimates.items()}
                for model, estimates in self.result.metrics.items()
            },
            "slides": sum(map(len, self.members.values())),
            "patients": len(set(self.result.plan.labels.patients)),
            "left_out": self.left_out,
        }

    def tables(self) -> dict[str, Any]:
        """What metrics.json holds besides: the names of folds and sites stay out of head.json."""
        return {"folds": self.result.folds, "sites": self.result.sites}


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """A head folder, loaded.

    Attributes:
        heads: one per fold, in evaluation mode, on the CPU.
        kept: every target, and what calibrates its answers.
        contract: what embeddings the heads understand.
        spec: how they were trained.
        folds_of_slide, folds_of_identity: the heads that held a training slide out, by slide_id and by
            content, so that a renamed slide is recognised. None of them where all heads
            may know it.
        known: what the training slides look like; None where the folder was written before there was that.
        covariates: what the heads take besides the slide.
        told: the covariates of slides, once `with_covariates` has given them.
    """

    heads: tuple[Head, ...]
    kept: tuple[Kept, ...]
    contract: EmbeddingContract
    spec: TrainSpec
    folds_of_slide: dict[str, tuple[int, ...]]
    folds_of_identity: dict[str, tuple[int, ...]]
    known: TrainingBags | None
    covariates: Covariates
    told: Rows | None = None

    def bag_of(self, stores: Sequence[Store]) -> Bags:
        """One bag of the slides of a patient, with all that the heads take.

        Raises:
            UsageError: the heads take covariates, and none were given.
            InputError: a slide has no patch with an embedding, or its covariates are missing or impossible.
        """
        bag = one_bag([bag_from_store(store) for store in stores])
        if not self.covariates.columns:
            return bag
        if self.told is None:
            raise UsageError(
                f"This head takes the covariates {self.covariates.names} besides the slide.",
                f"Give --covariates CSV with the columns slide, {self.covariates.names}.",
            )
        return with_covariates(bag, self.covariates.encode(self.told, [s.slide_id for s in stores]))

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the first target, in the order of the probabilities; none where it has none."""
        first = self.kept[0].outcome
        return first.names if first.target.has_classes else ()

    @property
    def calibration(self) -> Calibration | None:
        """Of the classes of the first target."""
        found = self.kept[0].calibration
        return found if isinstance(found, Calibration) else None

    def folds_of(self, slide: str, identity: str) -> tuple[int, ...] | None:
        """The heads that held a training slide out; None of a slide that is none, by content or name."""
        return self.folds_of_identity.get(identity, self.folds_of_slide.get(slide))


def require_new(folder: Path) -> None:
    """Refuse to write over anything, or where no folder can be, before any work is done.

    Raises:
        UsageError: the folder exists, or lies below something that is no folder or may not be written.
    """
    if folder.exists():
        raise UsageError(
            f"{folder} exists already.", "Name a new folder for the head, or remove the old one."
        )
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UsageError(f"{folder} cannot be made: {above} is no folder to write into.", "Name another one.")


def write_head(folder: Path, trained: Trained) -> None:
    """Write the folder beside its place and rename it: it is whole or not there."""
    require_new(folder)
    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        weights = [save(head.state_dict()) for head in trained.result.heads]
        for number, blob in enumerate(weights):
            (beside / _weights_name(number)).write_bytes(blob)
        known = save(trained.result.known.tensors())
        (beside / KNOWN).write_bytes(known)
        document = _document(trained, weights) | {"known": hashlib.sha256(known).hexdigest()}
        _write_json(beside / "head.json", document)
        _write_json(beside / "metrics.json", trained.metrics() | trained.tables())
        (beside / "history.jsonl").write_text(json_lines(trained.history), encoding="utf-8")
        _write_predictions(beside / "predictions.csv", trained.result, trained.spec)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def load_head(folder: Path) -> TrainedHead:
    """Load a head folder. It may come from anyone: nothing in it is run or unpickled.

    Raises:
        StoreIncomplete: there is no head folder at this place.
        StoreCorrupt: weights that are missing, or not those that were written, or that make no head.
        UsageError: written by a version with another schema.
    """
    document = _read_document(folder)
    try:
        return _loaded(folder, document)
    except MALFORMED as error:
        raise StoreCorrupt(
            f"{folder} does not hold what a head folder should ({type(error).__name__}).", AGAIN
        ) from error


def _read_document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreIncomplete(
            f"{folder} is no head folder: {error}.", "Name a folder made by `train`."
        ) from error
    if not isinstance(document, dict):
        raise StoreCorrupt(f"{folder / 'head.json'} does not describe a head.", AGAIN)
    if document.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder} has head schema {document.get('schema')}, not {SCHEMA}.", "Train it again."
        )
    return document


def _loaded(folder: Path, document: dict[str, Any]) -> TrainedHead:
    spec = TrainSpec.from_dict(document["train"])
    contract = EmbeddingContract.from_dict(document["contract"])
    kept, slides = read_kept(document, spec), document["slides"]
    return TrainedHead(
        heads=tuple(_read_heads(folder, document, kept)),
        kept=kept,
        contract=contract,
        spec=spec,
        folds_of_slide={slide: tuple(one["folds"]) for slide, one in slides.items()},
        folds_of_identity={one["identity"]: tuple(one["folds"]) for one in slides.values()},
        covariates=Covariates.from_dict(document["covariates"]),
        known=_read_known(folder, document.get("known")),
    )


def _document(trained: Trained, weights: Sequence[bytes]) -> dict[str, Any]:
    result = trained.result
    folds_of = {bag: result.plan.heads_of(row) for row, bag in enumerate(result.plan.labels.slides)}
    return {
        "schema": SCHEMA,
        "contract": trained.contract.to_dict(),
        "train": trained.spec.to_dict(),
        **written([Kept(one.said.known.outcome, one.calibration) for one in result.answered]),
        "covariates": trained.covariates.to_dict(),
        "slides": {
            slide: {"folds": list(folds_of[bag]), "identity": identity}
            for bag, slides in trained.members.items()
            for slide, identity in slides.items()
        },
        "weights": [hashlib.sha256(blob).hexdigest() for blob in weights],
        "metrics": trained.metrics(),
    }


def _read_heads(folder: Path, document: dict[str, Any], kept: tuple[Kept, ...]) -> list[Head]:
    spec, outcomes = TrainSpec.from_dict(document["train"]), tuple(one.outcome for one in kept)
    heads = []
    for number, digest in enumerate(document["weights"]):
        head = head_for(spec, document["contract"]["encoder"]["dim"], outcomes)
        tensors = _tensors(folder / _weights_name(number), digest)
        if spec.covariates:
            place = "early" if spec.fusion == "intermediate" else "late"
            head.take_covariates(len(tensors[f"{place}.mean"]), spec.fusion)
        head.load_state_dict(tensors)
        heads.append(head.eval())
    if not heads:
        raise StoreCorrupt(f"{folder} holds no weights.", AGAIN)
    return heads


def _read_known(folder: Path, digest: str | None) -> TrainingBags | None:
    return None if digest is None else TrainingBags.from_tensors(_tensors(folder / KNOWN, digest))


def _tensors(path: Path, digest: str) -> dict[str, torch.Tensor]:
    blob = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(blob).hexdigest() != digest:
        raise StoreCorrupt(f"{path} is missing or was changed.", AGAIN)
    tensors: dict[str, torch.Tensor] = load(blob)
    return tensors


def _weights_name(fold: int) -> str:
    return f"fold-{fold}.safetensors"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _write_predictions(path: Path, result: CrossValidation, spec: TrainSpec) -> None:
    asked = [column for target in spec.asked for column in target.columns]
    named = ("patient", "slides") if spec.bag == "patient" else ("slide", "patient")
    columns = [*named, *dict.fromkeys(asked), "fold"]
    answered = [(one.said.known.outcome, one.answers) for one in result.answered]
    for outcome, _ in answered:
        columns += columns_of(outcome, prefix_of(outcome.target, spec.asked))
    rows = []
    for number, (entry, folds) in enumerate(zip(result.labels.entries, result.held_out_by, strict=True)):
        truth = dict(zip(asked, entry.cells, strict=True))
        cells = [cell for outcome, answers in answered for cell in cells_of(outcome, answers[number])]
        shown = [f"{cell:.9g}" if isinstance(cell, float) else cell for cell in cells]
        own = (entry.slide, entry.patient)
        subject = own[::-1] if spec.bag == "patient" else own
        rows.append([*subject, *truth.values(), "|".join(map(str, folds)), *shown])
    write_table(path, columns, rows)
