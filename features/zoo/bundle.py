"""Weights for a machine without a network: a folder to carry there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ...errors import UsageError, WeightsChanged
from ..card import EncoderCard
from ..disk import full_disk_named
from .weights import FOLDER, check, file_sha256, lock_path, sealed, weights_path

README = f"""Weights for slidestream, to be used without a network.

Copy this folder to the machine and set the environment variable {FOLDER} to it. Then
`slidestream encoders` lists the encoders below as present. Each file has a lock beside it with its
source, revision, sha256 and licence; slidestream refuses a file that is not the one of its lock.

"""


def bundle(cards: Sequence[EncoderCard], folder: Path) -> list[Path]:
    """Copy the weights of these cards, with their locks, into a folder that can serve as SLIDESTREAM_WEIGHTS.

    Raises:
        UsageError: a card without weights to carry.
        WeightsMissing: weights that are not on this machine yet.
        WeightsChanged: weights that are not what they were, here or after copying.
    """
    for card in cards:
        if not card.repo:
            raise UsageError(f"Encoder {card.name} has no weights to bundle.")
    paths = [_carry(sealed(card), folder) for card in cards]
    lines = [f"{card.name}: {card.licence}; {card.home}" for card in cards]
    (folder / "README.txt").write_text(README + "\n".join(lines) + "\n", encoding="utf-8")
    return paths


def _carry(card: EncoderCard, folder: Path) -> Path:
    ours, theirs = weights_path(card), weights_path(card, folder)
    theirs.parent.mkdir(parents=True, exist_ok=True)
    with full_disk_named(theirs):
        shutil.copy2(ours, theirs)
    if file_sha256(theirs) != card.sha256:
        theirs.unlink()
        raise WeightsChanged(
            f"{ours} was changed since its first use.", "Fetch it again: nothing was copied."
        )
    lock_path(theirs).unlink(missing_ok=True)
    check(card, theirs, card.sha256, card.revision)
    return theirs
