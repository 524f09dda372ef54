"""Fetching weights from the Hugging Face Hub: the only module that goes to the network, when asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...errors import EnvironmentProblem, WeightsChanged
from ..card import EncoderCard
from ..disk import full_disk_named
from .weights import Lock, check, file_sha256, read_lock, weights_path

SHA256_DIGITS = 64


def pull(card: EncoderCard, folder: Path | None = None) -> Lock:
    """Fetch the card's weights into the weights folder, or check those that are there.

    The card's revision is taken, else the one of the first fetch, else the newest, which is then kept. An
    interrupted download goes on where it ended. The token is that of HF_TOKEN or of `hf auth login`.

    Raises:
        WeightsChanged: what came is not what the card, the lock or the Hub says.
        EnvironmentProblem: no network, no such file, or no access.
    """
    path = weights_path(card, folder)
    lock = read_lock(path)
    if path.is_file():
        return check(card, path, file_sha256(path), lock.revision if lock else "")
    if not card.repo:
        raise EnvironmentProblem(f"Encoder {card.name} has no place to be fetched from.")
    path.parent.mkdir(parents=True, exist_ok=True)
    revision = card.revision or (lock.revision if lock else "")
    with full_disk_named(path):
        part, metadata = _download(card, path, revision or "main")
    sha256 = file_sha256(part)
    try:
        _require(card, read_lock(path), metadata.etag, sha256)
    except WeightsChanged:
        part.unlink()
        raise
    part.replace(path)
    return check(card, path, sha256, metadata.commit_hash or revision)


def _require(card: EncoderCard, lock: Lock | None, etag: str | None, sha256: str) -> None:
    """Refuse a file that is not the card's, the first use's, or the one the Hub itself names."""
    named = etag if etag and len(etag) == SHA256_DIGITS else ""  # large files are named by their sha256
    for wanted in (card.sha256, lock.sha256 if lock else "", named):
        if wanted and wanted != sha256:
            raise WeightsChanged(
                f"What {card.repo} gave for {card.file} has sha256 {sha256[:12]}..., not {wanted[:12]}...",
                "It was changed there or on its way: nothing was kept.",
            )


def _download(card: EncoderCard, path: Path, revision: str) -> tuple[Path, Any]:
    """The file beside its place, whole, and what the Hub says of it."""
    import huggingface_hub as hub
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    # Else the library also asks the Hub for a list of programs, to tell it which of them is calling.
    hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    endpoint = os.environ.get("HF_ENDPOINT") or None
    kind = "dataset" if card.source.startswith("hf-dataset:") else "model"
    where = {"repo_type": kind, "endpoint": endpoint}
    try:
        metadata = hub.get_hf_file_metadata(hub.hf_hub_url(card.repo, card.file, revision=revision, **where))
        # By the commit from here on: a branch may move while we download.
        url = hub.hf_hub_url(card.repo, card.file, revision=metadata.commit_hash or revision, **where)
        part = path.with_name(f"{path.name}.{(metadata.etag or 'unknown')[:16]}.part")
        with open(part, "ab") as file:
            http_get(
                url,
                file,
                resume_size=file.tell(),
                headers=build_hf_headers(),
                expected_size=metadata.size,
                displayed_filename=card.file,
            )
    except Exception as error:
        raise _unreachable(card, revision, error) from error
    return part, metadata


def _unreachable(card: EncoderCard, revision: str, error: Exception) -> Exception:
    """What to do about a failed request; an error that is none is handed back as it is."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return EnvironmentProblem(
            f"The weights of {card.name} are gated ({card.licence}), and you have no access yet.",
            f"Ask for access at {card.home}, then set HF_TOKEN to your token.",
        )
    absent = (errors.RevisionNotFoundError, errors.EntryNotFoundError, errors.RepositoryNotFoundError)
    if isinstance(error, absent):
        return EnvironmentProblem(
            f"The Hub has no {card.file} in {card.repo} at revision {revision}, or hides it from you.",
            f"Look at {card.home}; if it asks for a login, set HF_TOKEN.",
        )
    if isinstance(error, OSError | ConnectionError) or "http" in type(error).__module__:
        return EnvironmentProblem(
            f"{card.file} of {card.repo} could not be fetched ({type(error).__name__}).",
            "Check the network and run the same command again: it goes on where it ended.",
        )
    return error
