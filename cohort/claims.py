"""Who works on which slide, when several runs share a run folder: each slide once, and none forever.

A claim is a row that names its owner, in a small SQLite file; an owner that has died loses it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import DiskFull, StoreError
from ..features.layout import store_path
from ..features.store import open_store
from .job import Job
from .ledger import full_disk_named

FILE = "claims.sqlite"
BEAT_SECONDS = 30.0
DEAD_AFTER_SECONDS = 300.0
"""A claim of another machine that was not renewed for so long has lost its owner."""

_TABLE = (
    "CREATE TABLE IF NOT EXISTS claims (slide_id TEXT PRIMARY KEY, host TEXT, pid INT, born TEXT, beat REAL)"
)
_OURS = "host = ? AND pid = ? AND born = ?"

Owner = tuple[str, int, str]
"""Machine, process, and when that process began."""


_held: set[tuple[Path, str]] = set()
"""What the runs of this process hold, by run folder and slide."""


class Claims:
    """The claims of this process in a run folder. A context manager: leaving it gives them back."""

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._me: Owner = (socket.gethostname(), os.getpid(), _born(os.getpid()))
        self._taken: set[str] = set()
        self._over = threading.Event()
        self._beat = threading.Thread(target=self._renew, name="claims", daemon=True)

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._table() as table:
            table.execute(_TABLE)
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._beat.join()
        _held.difference_update({(self._path, slide_id) for slide_id in self._taken})
        with self._table() as table:
            table.execute(f"DELETE FROM claims WHERE {_OURS}", self._me)  # noqa: S608 - a constant

    def take(self, slide_id: str) -> bool:
        """Whether the slide is ours now: free until now, or its owner is dead."""
        with self._table() as table:
            found = table.execute("SELECT host, pid, born, beat FROM claims WHERE slide_id = ?", [slide_id])
            row = found.fetchone()
            if row and self._is_held(slide_id, (row[0], row[1], row[2]), time.time() - row[3]):
                return False
            values = (slide_id, *self._me, time.time())
            table.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", values)
            self._taken.add(slide_id)
            _held.add((self._path, slide_id))
        return True

    def _is_held(self, slide_id: str, owner: Owner, silent: float) -> bool:
        if owner == self._me:  # a full disk may have kept an earlier run of this process from tidying
            return (self._path, slide_id) in _held
        return _alive(owner, silent)

    def give_back(self, slide_id: str) -> None:
        """The slide is done."""
        self._taken.discard(slide_id)
        _held.discard((self._path, slide_id))
        with self._table() as table:
            table.execute(f"DELETE FROM claims WHERE slide_id = ? AND {_OURS}", [slide_id, *self._me])  # noqa: S608

    def _renew(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(sqlite3.OperationalError, DiskFull), self._table() as table:
                table.execute(f"UPDATE claims SET beat = ? WHERE {_OURS}", [time.time(), *self._me])  # noqa: S608

    @contextlib.contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        """The table, to this process alone until the block is left."""
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            with full_disk_named(self._path.parent):
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        finally:
            connection.close()


def _alive(owner: Owner, silent: float) -> bool:
    """Whether the owner of a claim lives; on another machine, whether it gave a sign of late."""
    host, pid, born = owner
    if host != socket.gethostname():
        return silent < DEAD_AFTER_SECONDS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives, and belongs to another user
        return True
    return _born(pid) == born


def _born(pid: int) -> str:
    """When a process began, so that a number used again is not taken for the old owner; empty if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


class Sharing:
    """The jobs of a run, of which others may be working on some. A context manager.

    Args:
        run: the run folder.
        jobs: to do, as planned; a store that changes from now on was finished by another run.
    """

    def __init__(self, run: Path, jobs: Sequence[Job]) -> None:
        self._run = run
        self._claims = Claims(run)
        self._before = {job.input.slide_id: seal_of(job) for job in jobs}

    def __enter__(self) -> Self:
        self._claims.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._claims.__exit__(kind, error, trace)

    def take(self, job: Job) -> bool:
        """Whether the job is ours to do; else another run has done it, or is at it."""
        if not self._claims.take(job.input.slide_id):
            return False
        if self.is_done(job):
            self.give_back(job)
            return False
        return True

    def give_back(self, job: Job) -> None:
        """The job has ended."""
        self._claims.give_back(job.input.slide_id)

    def is_done(self, job: Job) -> bool:
        """Whether another run has finished the store since the jobs were planned."""
        now = seal_of(job)
        return bool(now) and now != self._before[job.input.slide_id]


class Together:
    """The jobs of a run in one or several run folders: an input is taken in all of them, or in none.

    A context manager.

    Attributes:
        elsewhere: jobs that another run has done or is at, in one of the folders at least.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        by_run: dict[Path, list[Job]] = defaultdict(list)
        for job in jobs:
            by_run[job.run].append(job)
        self._folders = {run: Sharing(run, its_jobs) for run, its_jobs in by_run.items()}
        self._open = contextlib.ExitStack()
        self.elsewhere: list[Job] = []

    def __enter__(self) -> Self:
        for folder in self._folders.values():
            self._open.enter_context(folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def take(self, job: Job) -> bool:
        """Whether the job and its others are ours to do; else they are in `elsewhere`."""
        taken: list[Job] = []
        for member in job.members:
            if not self._folders[member.run].take(member):
                for each in taken:
                    self._folders[each.run].give_back(each)
                self.elsewhere.append(job)
                return False
            taken.append(member)
        return True

    def give_back(self, job: Job) -> None:
        """The job and its others have ended."""
        for member in job.members:
            self._folders[member.run].give_back(member)

    def is_done(self, job: Job) -> bool:
        """Whether another run has finished the store of this job since it was planned; not of its others."""
        return self._folders[job.run].is_done(job)


def seal_of(job: Job) -> str:
    """What the complete store of a job is known by; empty where there is none."""
    try:
        store = open_store(store_path(job.run, job.input.slide_id))
    except StoreError:
        return ""
    return str(store.attributes.get("metadata_sha256", ""))
