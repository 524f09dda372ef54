"""One run folder, one configuration: everything that changes a result, and nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

import yaml

from ..errors import ContractMismatch, UsageError
from ..features.card import EncoderCard
from ..identity import How
from ..radiology.choice import Asked
from ..spec import Spec, differences
from ..stain.spec import StainSpec
from ..tiling.spec import PatchSpec, QualitySpec, TissueSpec

FILE = "slidestream.yaml"
MAY_CHANGE = frozenset({"identity", "max_unreadable", "roi"})
"""What a run folder may go on with otherwise than it began: it changes no store, only which are kept. Of
regions (`roi`) it is not the place that counts but what was drawn, which each store records."""
VOLUME_PATCH = PatchSpec(size_px=64, spacing=3000.0, overlap=0.5)
"""Volumes by default: 64 px at 3 mm, a field of view of 192 mm, which body CT and MR both resolve."""


@dataclass(frozen=True)
class RunConfig(Spec):
    """What a run computes.

    Attributes:
        encoder: registry name.
        patch: patches of slides.
        volume: patches of volumes; its spacing is in µm too (3 mm is 3000).
        scaling: how voxels become grey, "ct" (a window in HU), "mr" (percentiles) or "auto".
        force_spacing: accept a slide spacing that the encoder card does not list.
        max_unreadable: fraction of a slide's patches that may be unreadable before the slide fails.
        identity: how the content of large files is known again: "fast" samples them, "full" reads all.
        stain: how the patches of slides are normalised before they are encoded; None for not at all.
        precision: in which a foundation model computes, "fp32", "bf16" or "fp16".
        icc: the colours of slides are taken to sRGB by their ICC profile, where they have one.
        tissue: how tissue is found on slides.
        quality: which patches of slides are excluded for their quality.
        roi: a GeoJSON file, or a folder of them, with what a person drew on slides; empty for none.
        roi_class: of the regions that limit tissue, the one class that counts; empty for all.
    """

    encoder: str = "texture"
    patch: PatchSpec = field(default_factory=PatchSpec)
    volume: PatchSpec = VOLUME_PATCH
    scaling: Asked = "auto"
    force_spacing: bool = False
    max_unreadable: float = 0.01
    identity: How = "fast"
    stain: StainSpec | None = None
    precision: str = "fp32"
    icc: bool = False
    tissue: TissueSpec = field(default_factory=TissueSpec)
    quality: QualitySpec = field(default_factory=QualitySpec)
    roi: str = ""
    roi_class: str = ""

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16", "fp16"):
            raise UsageError(f"precision {self.precision!r} must be fp32, bf16 or fp16.")
        if self.scaling not in ("auto", "ct", "mr"):
            raise UsageError(f"scaling {self.scaling!r} must be auto, ct or mr.")
        if self.identity not in get_args(How):
            raise UsageError(f"identity {self.identity!r} must be fast or full.")
        if not 0 <= self.max_unreadable <= 1:
            raise UsageError(f"max_unreadable {self.max_unreadable} must be between 0 and 1.")

    def stain_of(self, kind: str) -> StainSpec | None:
        """How inputs of this kind, "slide" or "volume", are normalised: volumes have no stain."""
        return self.stain if kind == "slide" else None


@dataclass(frozen=True)
class Execution(Spec):
    """How a run computes: changes its speed, never its results.

    Attributes:
        workers: threads that read one input.
        batch_size: patches encoded at once; 0 for 32, and on a GPU what is found to pay there.
        device: a torch device, "cpu" or "cuda"; several as "cuda:0,cuda:1"; "auto" for all GPUs there are.
        readers: processes that read ahead, an input each; 0 reads within this process, which then has
            no protection against what a file does to its decoder.
        timeout: seconds without a new patch after which a reader process is given up.
        memory_gb: most GiB a reader process may take where the system can limit it; 0 for no limit.
    """

    workers: int = max(2, min(8, os.cpu_count() or 1))
    batch_size: int = 32
    device: str = "cpu"
    readers: int = min(2, os.cpu_count() or 1)
    timeout: float = 120.0
    memory_gb: float = 4.0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.batch_size < 0:
            raise UsageError("workers must be at least 1, batch_size 0 or more.")
        if self.readers < 0 or self.memory_gb < 0 or self.timeout <= 0:
            raise UsageError("readers and memory must not be negative, the timeout must be above 0.")

    @classmethod
    def given(cls, **values: int | float | str | None) -> Self:
        """These values, and the default for each that is None."""
        return cls.from_dict({key: value for key, value in values.items() if value is not None})


def _check_precision(config: RunConfig, card: EncoderCard) -> None:
    """A built-in encoder counts and compares in float32, which half of the digits would spoil."""
    if config.precision != "fp32" and not card.architecture:
        raise UsageError(f"Encoder {card.name} computes in fp32 only.", "Leave out --precision.")


def _check_size(config: RunConfig, card: EncoderCard) -> None:
    size = min(config.patch.size_px, config.volume.size_px)
    if size < card.least_px:
        raise UsageError(
            f"Patches of {size} px are too small for encoder {card.name}.",
            f"Use at least {card.least_px} px.",
        )


def _check_encoder_spacing(config: RunConfig, card: EncoderCard) -> None:
    """Refuse a patch spacing more than 2 % away from every spacing on the card."""
    near = any(abs(config.patch.spacing / spacing - 1) <= 0.02 for spacing in card.spacings)
    if card.spacings and not near and not config.force_spacing:
        listed = ", ".join(f"{spacing:g}" for spacing in card.spacings)
        raise UsageError(
            f"Encoder {card.name} takes patches at {listed} µm per px, not {config.patch.spacing:g}.",
            f"Leave out --mpp for {card.spacings[0]:g}, or pass --force-spacing; the store records it.",
        )


def check_config(run: Path, config: RunConfig, card: EncoderCard) -> None:
    """Check that the encoder takes the spacing, and that the run folder, if it exists, was made alike.

    Raises:
        UsageError: the encoder was not made for the spacing or the size, or does not take the precision.
        ContractMismatch: the folder holds another configuration; each difference is named.
    """
    _check_precision(config, card)
    _check_size(config, card)
    _check_encoder_spacing(config, card)
    path = run / FILE
    lines = _unlike(_read(path), _document(config, card)) if path.exists() else []
    if lines:
        raise ContractMismatch(
            f"{run} was made with another configuration: {'; '.join(lines)}.",
            "Use another run folder with -o, or the options this one was made with.",
        )


def bind(run: Path, config: RunConfig, card: EncoderCard) -> None:
    """`check_config`, then write the configuration into the run folder, if that is new or it changed."""
    check_config(run, config, card)
    path = run / FILE
    if path.exists() and _read(path) == _document(config, card):
        return
    run.mkdir(parents=True, exist_ok=True)
    beside = run / f".{FILE}.{os.getpid()}"  # another run may begin in the same folder this moment
    beside.write_text(yaml.safe_dump(_document(config, card), sort_keys=False, allow_unicode=True))
    beside.replace(path)


def read_config(run: Path) -> RunConfig:
    """The configuration of a run folder.

    Raises:
        UsageError: it holds none, or a damaged one.
    """
    if not (run / FILE).is_file():
        raise UsageError(f"{run} is not a run folder.", "Make one with `slidestream run INPUT -o RUN`.")
    return RunConfig.from_dict(_read(run / FILE)["config"])


def _unlike(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """The differences between two documents that need two run folders."""
    kept = [
        document | {"config": {key: v for key, v in document["config"].items() if key not in MAY_CHANGE}}
        for document in (ours, theirs)
    ]
    return differences(kept[0], kept[1])


def _document(config: RunConfig, card: EncoderCard) -> dict[str, Any]:
    return {"schema": 1, "config": config.to_dict(), "encoder_card": card.to_dict()}


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML.") from error
    if isinstance(document, dict) and "imported" in document:
        raise UsageError(f"The embeddings in {path.parent} were imported.", "Use another run folder with -o.")
    if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
        raise UsageError(f"{path} does not hold a run's configuration.")
    return document
