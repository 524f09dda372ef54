"""Fetching weights, from a stand-in of the Hub on the loopback: pinned, hashed, resumed, refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from slidestream.errors import EnvironmentProblem, WeightsChanged
from slidestream.features.card import EncoderCard
from slidestream.features.encoder import card_of
from slidestream.features.zoo.hub import pull
from slidestream.features.zoo.registry import zoo
from slidestream.features.zoo.weights import lock_path, weights_path

OLD, NEW = "a" * 40, "b" * 40
BLOBS = {OLD: b"old weights " * 4000, NEW: b"new weights " * 4000}


class Hub(ThreadingHTTPServer):
    """What the Hub answers: one file, at two commits, `main` being the newer.

    Attributes:
        asked: (method, path, Range, Authorization) of every request.
        cut_at: after so many bytes the connection breaks, and the Hub is down; 0 for never.
        wrong: whether other bytes are sent than the Hub names.
        token: needed for access, or nothing.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, str | None, str | None]] = []
        self.cut_at = 0
        self.down = False
        self.wrong = False
        self.token = ""
        self.main = NEW

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, send: bool) -> None:
        hub, given = self.server, self.headers.get("Authorization")
        hub.asked.append((self.command, self.path, self.headers.get("Range"), given))
        parts = self.path.strip("/").split("/")
        if hub.down:
            self._refuse(503, "")
            return
        if hub.token and given != f"Bearer {hub.token}":
            self._refuse(401, "GatedRepo")
            return
        if parts[:3] != ["org", "model", "resolve"] or parts[-1] != "w.bin":
            self._refuse(404, "RepoNotFound")
            return
        commit = hub.main if parts[3] == "main" else parts[3]
        if commit not in BLOBS:
            self._refuse(404, "RevisionNotFound")
            return
        self._blob(BLOBS[commit], commit, send)

    def _refuse(self, code: int, what: str) -> None:
        self.send_response(code)
        self.send_header("X-Error-Code", what)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _blob(self, blob: bytes, commit: str, send: bool) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(blob).hexdigest()}"')
        self.send_header("Content-Length", str(len(blob) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(blob) - 1}/{len(blob)}")
        self.end_headers()
        if not send:
            return
        body = (b"x" * len(blob) if self.server.wrong else blob)[start:]
        if self.server.cut_at:
            self.server.down = True
            self.wfile.write(body[: self.server.cut_at])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    server = Hub()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("SLIDESTREAM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> EncoderCard:
    made = EncoderCard(
        "m", "hf:org/model", "", "", "MIT", False, 3, 32, file="w.bin", architecture="timm:x", pooling="cls"
    )
    monkeypatch.setitem(zoo(), "m", made)
    return made


def test_the_pinned_revision_is_fetched(hub: Hub, card: EncoderCard) -> None:
    lock = pull(replace(card, revision=OLD))
    path = weights_path(card)
    assert path.read_bytes() == BLOBS[OLD]
    assert (lock.revision, lock.sha256) == (OLD, hashlib.sha256(BLOBS[OLD]).hexdigest())
    assert {asked[1] for asked in hub.asked} == {f"/org/model/resolve/{OLD}/w.bin"}
    assert hub.asked[-1][3] == "Bearer secret", "the token of the environment"
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".part"] == []
    hub.asked.clear()
    assert pull(replace(card, revision=OLD)).sha256 == lock.sha256
    assert hub.asked == [], "what is here is checked, not fetched again"


def test_without_a_pin_the_first_one_is_kept(hub: Hub, card: EncoderCard) -> None:
    hub.main = OLD
    assert pull(card).revision == OLD
    assert hub.asked[-1][1].endswith(f"/resolve/{OLD}/w.bin"), "by the commit, not by the branch"
    assert (card_of("m").revision, card_of("m").sha256) == (OLD, hashlib.sha256(BLOBS[OLD]).hexdigest())
    hub.main = NEW
    weights_path(card).unlink()
    assert pull(card).revision == OLD, "the branch moved on, the lock did not"


def test_another_content_than_pinned_is_refused(hub: Hub, card: EncoderCard) -> None:
    pinned = replace(card, sha256=hashlib.sha256(BLOBS[OLD]).hexdigest())
    with pytest.raises(WeightsChanged, match="nothing was kept") as caught:
        pull(pinned)
    assert caught.value.exit_code == 5
    assert list(weights_path(card).parent.iterdir()) == []


def test_another_content_than_at_first_use_is_refused(hub: Hub, card: EncoderCard) -> None:
    pull(replace(card, revision=OLD))
    weights_path(card).unlink()
    with pytest.raises(WeightsChanged):
        pull(replace(card, revision=NEW))
    assert not weights_path(card).exists()
    assert lock_path(weights_path(card)).exists()


def test_other_bytes_than_the_hub_names_are_refused(hub: Hub, card: EncoderCard) -> None:
    hub.wrong = True
    with pytest.raises(WeightsChanged):
        pull(card)
    assert list(weights_path(card).parent.iterdir()) == []


def test_an_interrupted_download_goes_on(
    hub: Hub, card: EncoderCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut_at = 10_000
    with pytest.raises(EnvironmentProblem, match="could not be fetched"):
        pull(card)
    (part,) = weights_path(card).parent.iterdir()
    assert part.read_bytes() == BLOBS[NEW][:10_000]
    hub.cut_at, hub.down = 0, False
    hub.asked.clear()
    assert pull(card).revision == NEW
    assert weights_path(card).read_bytes() == BLOBS[NEW]
    assert [asked[2] for asked in hub.asked if asked[0] == "GET"] == ["bytes=10000-"]
    assert not part.exists()


def test_a_gated_model_says_where_to_ask(hub: Hub, card: EncoderCard) -> None:
    hub.token = "another"
    with pytest.raises(EnvironmentProblem, match="no access") as caught:
        pull(card)
    assert "https://huggingface.co/org/model" in caught.value.fix
    assert "HF_TOKEN" in caught.value.fix


def test_what_the_hub_does_not_have(hub: Hub, card: EncoderCard) -> None:
    with pytest.raises(EnvironmentProblem, match=r"no w\.bin"):
        pull(replace(card, revision="c" * 40))
    with pytest.raises(EnvironmentProblem, match=r"no w\.bin"):
        pull(replace(card, source="hf:org/other"))


def test_no_network(hub: Hub, card: EncoderCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(EnvironmentProblem, match="could not be fetched") as caught:
        pull(card)
    assert "goes on where it ended" in caught.value.fix
