"""What a real `slidestream run` makes of damaged files: outcome, time and memory, file by file.

    python benchmarks/malformed.py FOLDER [--json]

Every file under FOLDER is run alone, with one reader process. `slide` is the time that the run spent on
the file, `command` that of the whole command with its start; `reader` is the peak resident memory of the
reader process. A file that is damaged may fail, but only with a code of its own. Linux only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

BESIDE = ("README", ".txt", ".md", ".csv")
"""Endings and beginnings of names that are no test files."""


@dataclass(frozen=True)
class Row:
    """One file: how the command ended, the outcome ("done" or a code), seconds and MiB."""

    file: str
    exit_code: int
    outcome: str
    cause: str
    slide_s: float
    command_s: float
    reader_mib: float


def measure(path: Path, folder: Path, *options: str) -> Row:
    """Run one file into a new run folder."""
    command = [sys.executable, "-m", "slidestream", "run", path, "-o", folder, "--encoder", "null"]
    start = time.perf_counter()
    run = subprocess.Popen(
        [*map(str, command), "--readers", "1", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    peak = 0
    while run.poll() is None:
        peak = max([peak, *map(_peak_kib, _children(run.pid))])
        time.sleep(0.01)
    seconds = time.perf_counter() - start
    assert run.stdout is not None
    (outcome,) = json.loads(run.stdout.read())["outcomes"]
    return Row(
        file=path.name,
        exit_code=run.returncode,
        outcome=outcome["code"] or outcome["status"],
        cause=outcome["cause"],
        slide_s=outcome["seconds"],
        command_s=round(seconds, 2),
        reader_mib=round(peak / 1024, 1),
    )


def files_under(folder: Path) -> list[Path]:
    """The files to run, by name."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not re.search("|".join(BESIDE), p.name))


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def _peak_kib(pid: str) -> int:
    """The most a reader process has had in memory so far; the kernel keeps count."""
    try:
        if b"spawn_main" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return 0  # not one yet: it still is a copy of the process that starts it
        found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, path in enumerate(files_under(options.folder)):
            rows.append(measure(path, Path(scratch) / str(number)))
            if not options.json:
                _show(rows[-1], header=number == 0)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))


def _show(row: Row, header: bool) -> None:
    if header:
        print(f"{'file':<28}{'outcome':<20}{'slide s':>8}{'command s':>10}{'reader MiB':>11}  cause")
    numbers = f"{row.slide_s:>8.2f}{row.command_s:>10.2f}{row.reader_mib:>11.0f}"
    print(f"{row.file:<28}{row.outcome:<20}{numbers}  {row.cause}", flush=True)


if __name__ == "__main__":
    main()
