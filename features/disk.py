"""Every change that the store makes to a disk: made durable, and one step at a time.

All writing goes through these few functions, so that a test can stop the process at each of them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DiskFull

PIECE_BYTES = 1 << 20


def write_all(file: BinaryIO, data: bytes) -> None:
    """Hand bytes to the operating system."""
    file.write(data)
    file.flush()


def sync(file: BinaryIO) -> None:
    """Wait until what was written to the file is on the disk."""
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on the disk. Windows has no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(old: Path, new: Path) -> None:
    """Rename in one step, over an existing file; durable when it returns."""
    old.replace(new)
    sync_folder(new.parent)


def remove_tree(folder: Path) -> None:
    """Delete a folder with all it holds; nothing happens where there is none."""
    shutil.rmtree(folder, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """A whole file, durable when this returns; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        write_all(file, data)
        sync(file)


def copy_file(original: Path, path: Path) -> None:
    """The same file again, a piece at a time, durable when this returns; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(original, "rb") as source, open(path, "wb") as file:
        while data := source.read(PIECE_BYTES):
            write_all(file, data)
        sync(file)


def replace_json(path: Path, document: Mapping[str, Any]) -> None:
    """A JSON file in one step: a reader sees the old or the new one, whole."""
    beside = path.with_name(f".{path.name}.partial")
    write_file(beside, json.dumps(document, indent=2).encode())
    rename(beside, path)


@contextmanager
def full_disk_named(place: Path) -> Iterator[None]:
    """Turns 'no space left' into an error that stops a run cleanly.

    Raises:
        DiskFull: the disk, the quota or the allowed file size is used up.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(
            f"No space is left to write {place.name}.",
            "Free some space and run the same command again: finished slides are intact.",
        ) from error
