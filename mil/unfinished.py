"""Folds that are finished, kept beside the head folder while the others train: a killed run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from ..features import disk
from .history import Epoch, json_lines, read_json_lines

KEY, HISTORY = "key", "history"


@dataclass(frozen=True, eq=False)
class Kept:
    """A finished fold: its weights, and what was said of each of its epochs."""

    weights: dict[str, torch.Tensor]
    epochs: list[Epoch]


class Unfinished:
    """The weights of finished folds, each written whole or not at all.

    Args:
        head_dir: the head folder that the run will make.
        key: digest of everything the weights depend on. Folds under another key are removed.
    """

    def __init__(self, head_dir: Path, key: str) -> None:
        self._folder = head_dir.with_name(f".{head_dir.name}.training")
        self._key = key
        if self._noted_key() != key:
            self.remove()

    def kept(self, fold: int) -> Kept | None:
        """What was kept of a fold, or None."""
        path = self._path(fold)
        try:
            with safe_open(path, framework="pt") as file:
                known = file.metadata()
            return Kept(load(path.read_bytes()), read_json_lines(known[HISTORY]))
        except (OSError, SafetensorError):
            return None

    def keep(self, fold: int, weights: dict[str, torch.Tensor], epochs: Sequence[Epoch]) -> None:
        """Keep a finished fold, durably."""
        path = self._path(fold)
        with disk.full_disk_named(self._folder):
            if self._noted_key() != self._key:
                disk.write_file(self._folder / KEY, self._key.encode())
            beside = path.with_suffix(".partial")
            disk.write_file(beside, save(weights, {HISTORY: json_lines(epochs)}))
            disk.rename(beside, path)

    def remove(self) -> None:
        """Forget all folds."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _noted_key(self) -> str:
        try:
            return (self._folder / KEY).read_text()
        except OSError:
            return ""

    def _path(self, fold: int) -> Path:
        return self._folder / f"fold-{fold}.safetensors"
