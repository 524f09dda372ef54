"""Where weights lie on this machine, and whether they are still what they were.

WEIGHTS/
  ORG--REPO/FILE             as published, under the folder that SLIDESTREAM_WEIGHTS names
  ORG--REPO/FILE.lock.json   source, revision, sha256, licence: written when the file is first fetched or used

No sha256 is invented. Where a card has none, the first file that is used decides, and another is refused:
trust on first use. Nothing here goes to the network.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import UsageError, WeightsChanged, WeightsMissing
from ...spec import Spec
from ..card import EncoderCard
from ..disk import replace_json

FOLDER = "SLIDESTREAM_WEIGHTS"
LOCK_SUFFIX = ".lock.json"


@dataclass(frozen=True)
class Lock(Spec):
    """What is known of a weights file.

    Attributes:
        source, file, licence: as on the card.
        revision: the commit it was fetched from; empty where it was put there by hand.
        sha256: of its content.
        size, mtime_ns: of the file when that was computed: while they hold, it is not computed again.
    """

    source: str
    file: str
    licence: str
    revision: str
    sha256: str
    size: int
    mtime_ns: int


def weights_folder() -> Path:
    """The folder that SLIDESTREAM_WEIGHTS names, or `slidestream/weights` in the user's cache."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "slidestream" / "weights"


def weights_path(card: EncoderCard, folder: Path | None = None) -> Path:
    """Where the card's weights lie, or would."""
    if card.source.startswith("file:"):
        return Path(card.source.removeprefix("file:")).expanduser()
    return (folder or weights_folder()) / card.repo.replace("/", "--") / card.file


def lock_path(weights: Path) -> Path:
    """Where the lock of a weights file lies."""
    return weights.with_name(weights.name + LOCK_SUFFIX)


def read_lock(weights: Path) -> Lock | None:
    """The lock of a weights file, if it has one.

    Raises:
        WeightsChanged: it has one that cannot be read: nothing can be trusted then.
    """
    path = lock_path(weights)
    try:
        return Lock.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, UsageError) as error:
        raise WeightsChanged(
            f"{path} cannot be read.", "Remove it if you trust the weights beside it."
        ) from error


def has_weights(card: EncoderCard) -> bool:
    """Whether the card can be used here and now; always for a built-in one."""
    return not card.architecture or weights_path(card).is_file()


def sealed(card: EncoderCard, asked: str = "") -> EncoderCard:
    """The card with the revision and the hash of the weights that lie here.

    Args:
        asked: what the user called it, where that is not its name but a path.

    Raises:
        WeightsMissing: they do not; the command that fetches them is named.
        WeightsChanged: they are not those of the card, or not those that were first used.
    """
    if not card.architecture:
        return card
    path = weights_path(card)
    if not path.is_file():
        raise _missing(card, asked or card.name)
    lock = read_lock(path)
    if lock is None or not _unchanged(lock, path):
        lock = check(card, path, file_sha256(path), lock.revision if lock else "")
    _require(card, path, lock.sha256, lock)
    return replace(card, sha256=lock.sha256, revision=lock.revision or card.revision)


def check(card: EncoderCard, path: Path, sha256: str, revision: str = "") -> Lock:
    """Compare a file's hash with the card's and the lock's, and write the lock.

    Raises:
        WeightsChanged: it is another file.
    """
    _require(card, path, sha256, read_lock(path))
    found = path.stat()
    lock = Lock(card.source, card.file, card.licence, revision, sha256, found.st_size, found.st_mtime_ns)
    with suppress(OSError):  # a folder that we may only read: the file is hashed at each use
        replace_json(lock_path(path), lock.to_dict())
    return lock


def verify(card: EncoderCard, path: Path) -> None:
    """Hash the whole file and compare it with a sealed card.

    Raises:
        WeightsChanged: it is another file.
    """
    _require(card, path, file_sha256(path), None)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _missing(card: EncoderCard, asked: str) -> WeightsMissing:
    if not card.repo:
        return WeightsMissing(f"There is no file {weights_path(card)}.", "Check `source` in the card.")
    ask = f" They are gated: ask at {card.home}, and set HF_TOKEN." if card.gated else ""
    return WeightsMissing(
        f"The weights of encoder {card.name} are not on this machine ({weights_path(card)}).",
        f"Run `slidestream encoders pull {asked}` where there is a network.{ask}",
    )


def _unchanged(lock: Lock, path: Path) -> bool:
    found = path.stat()
    return (found.st_size, found.st_mtime_ns) == (lock.size, lock.mtime_ns)


def _require(card: EncoderCard, path: Path, sha256: str, lock: Lock | None) -> None:
    for wanted, whose in ((card.sha256, "the card"), (lock.sha256 if lock else "", "the first use")):
        if wanted and wanted != sha256:
            raise WeightsChanged(
                f"{path} has sha256 {sha256[:12]}..., but {whose} of {card.name} has {wanted[:12]}...",
                "Fetch them again with `slidestream encoders pull`; if the change is meant, "
                f"remove {lock_path(path).name} first.",
            )
