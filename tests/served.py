"""A folder behind HTTP on this machine, that counts what it sends and fails when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slidestream.wsi import remote_bytes


@dataclass
class Served:
    """A folder served on this machine. `faults` are taken one per GET, before it is answered."""

    url: str
    ranges: list[tuple[int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    whole_files_only: bool = False
    dead: bool = False

    @property
    def sent(self) -> int:
        return sum(end - start for start, end in self.ranges)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    state: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.close_connection |= self.state.dead
        if self.state.dead:
            return
        self._head(200, self._size())

    def do_GET(self) -> None:
        size, state = self._size(), self.state
        fault = state.faults.pop(0) if state.faults else ""
        if fault == "drop" or state.dead:
            self.close_connection = True
            return
        if not self._file().is_file():
            self._head(404, 0)
            return
        start, end = 0, size
        if (wanted := self.headers.get("Range")) and not state.whole_files_only:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, size)
        state.ranges.append((start, end))
        with open(self._file(), "rb") as file:
            file.seek(start)
            content = file.read(end - start)
        self._head(200 if (start, end) == (0, size) else 206, len(content))
        with suppress(OSError):  # the client may want no more
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        self.close_connection |= fault == "cut"

    def _file(self) -> Path:
        return self.folder / self.path.partition("?")[0].lstrip("/")

    def _size(self) -> int:
        return self._file().stat().st_size if self._file().is_file() else 0

    def _head(self, code: int, length: int) -> None:
        self.send_response(code if self._file().is_file() else 404)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Served]]:
    """A fixture's body: a function that serves a folder until the test ends."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(remote_bytes, "PAUSE_S", 0.01)
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> Served:
        state = Served("")
        handler = type("Bound", (Handler,), {"folder": folder, "state": state})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        state.url = f"http://127.0.0.1:{server.server_port}"
        return state

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
