"""Folds that are finished, kept beside the head folder while the others train: a killed run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..features import disk
from .heads import Head

KEY = "key"


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

    def weights(self, fold: int) -> dict[str, torch.Tensor] | None:
        """What was kept of a fold, or None."""
        try:
            kept: dict[str, torch.Tensor] = load(self._path(fold).read_bytes())
        except (OSError, SafetensorError):
            return None
        return kept

    def keep(self, fold: int, head: Head) -> None:
        """Keep the weights of a finished fold, durably."""
        path = self._path(fold)
        with disk.full_disk_named(self._folder):
            if self._noted_key() != self._key:
                disk.write_file(self._folder / KEY, self._key.encode())
            beside = path.with_suffix(".partial")
            disk.write_file(beside, save(head.state_dict()))
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
