"""A head folder: everything a prediction needs, as JSON, CSV and safetensors.

HEAD/
  head.json              contract, train spec, classes, folds by slide, calibration, sha256 of the weights
  fold-<k>.safetensors   weights of the head that never saw fold k
  known.safetensors      what the training slides look like, so that others are noticed
  predictions.csv        out-of-fold: slide, patient, label, fold, predicted, p_<class>...
  metrics.json           metrics of the heads and of the linear probe, slides left out
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..errors import StoreCorrupt, StoreIncomplete, UsageError
from ..table import write_table
from .calibration import Calibration
from .contract import EmbeddingContract
from .crossval import CrossValidation
from .decision import decide
from .familiarity import TrainingBags
from .heads import Head
from .registry import build_head
from .spec import TrainSpec

SCHEMA = 1
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
        left_out: slide_ids by reason: "without_label", "without_store", "without_patches".
    """

    result: CrossValidation
    contract: EmbeddingContract
    spec: TrainSpec
    members: dict[str, dict[str, str]]
    left_out: dict[str, list[str]]

    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds."""
        return {
            **{
                model: {name: estimate.to_dict() for name, estimate in estimates.items()}
                for model, estimates in self.result.metrics.items()
            },
            "slides": sum(map(len, self.members.values())),
            "patients": len(set(self.result.labels.patients)),
            "left_out": self.left_out,
        }


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """A head folder, loaded.

    Attributes:
        heads: one per fold, in evaluation mode, on the CPU.
        classes: names, in the order of the probabilities.
        contract: what embeddings the heads understand.
        spec: how they were trained.
        fold_of_slide, fold_of_identity: the fold that held a training slide out, by slide_id and by
            content, so that a renamed slide is recognised.
        calibration: None where the folder was written before there was one.
        known: what the training slides look like; None likewise.
    """

    heads: tuple[Head, ...]
    classes: tuple[str, ...]
    contract: EmbeddingContract
    spec: TrainSpec
    fold_of_slide: dict[str, int]
    fold_of_identity: dict[str, int]
    calibration: Calibration | None
    known: TrainingBags | None

    def temperature(self, folds: tuple[int, ...]) -> float:
        """Of predictions by the heads of these folds: of one alone, which held the slide out, its own."""
        if self.calibration is None:
            return 1.0
        if len(folds) == 1:
            return self.calibration.fold_temperatures[folds[0]]
        return self.calibration.temperature


def require_new(folder: Path) -> None:
    """Refuse to write over anything.

    Raises:
        UsageError: the folder exists.
    """
    if folder.exists():
        raise UsageError(
            f"{folder} exists already.", "Name a new folder for the head, or remove the old one."
        )


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
        _write_json(beside / "metrics.json", trained.metrics())
        _write_predictions(beside / "predictions.csv", trained.result, trained.spec.ordered)
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
    kept = document.get("calibration")
    return TrainedHead(
        heads=tuple(_read_heads(folder, document, spec)),
        classes=tuple(document["classes"]),
        contract=contract,
        spec=spec,
        fold_of_slide={slide: known["fold"] for slide, known in document["slides"].items()},
        fold_of_identity={known["identity"]: known["fold"] for known in document["slides"].values()},
        calibration=None if kept is None else Calibration.from_dict(kept),
        known=_read_known(folder, document.get("known")),
    )


def _document(trained: Trained, weights: Sequence[bytes]) -> dict[str, Any]:
    result = trained.result
    fold_of = dict(zip(result.labels.slides, result.fold.tolist(), strict=True))
    return {
        "schema": SCHEMA,
        "contract": trained.contract.to_dict(),
        "train": trained.spec.to_dict(),
        "classes": list(result.labels.classes),
        "calibration": result.calibration.to_dict(),
        "slides": {
            slide: {"fold": fold_of[bag], "identity": identity}
            for bag, slides in trained.members.items()
            for slide, identity in slides.items()
        },
        "weights": [hashlib.sha256(blob).hexdigest() for blob in weights],
        "metrics": trained.metrics(),
    }


def _read_heads(folder: Path, document: dict[str, Any], spec: TrainSpec) -> list[Head]:
    heads = []
    for number, digest in enumerate(document["weights"]):
        head = build_head(spec, document["contract"]["encoder"]["dim"], len(document["classes"]))
        head.load_state_dict(_tensors(folder / _weights_name(number), digest))
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


def _write_predictions(path: Path, result: CrossValidation, ordered: bool) -> None:
    classes, decided = result.labels.classes, decide(result.probabilities, ordered)
    columns = ["slide", "patient", "label", "fold", "predicted", *(f"p_{name}" for name in classes)]
    columns_of = result.labels.entries, result.fold, decided, result.probabilities
    rows = (
        [e.slide, e.patient, e.label, fold, classes[c], *(f"{v:.9g}" for v in p)]
        for e, fold, c, p in zip(*columns_of, strict=True)
    )
    write_table(path, columns, rows)
