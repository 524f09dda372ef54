"""Slides of several files: whether those that the index names are there, before a reader looks for them."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import UnsupportedFormat

MOST_BYTES = 1 << 20
MOST_FILES = 10_000
USUAL_NAME = re.compile(r"(Index|Data\d{1,6})\.dat", re.IGNORECASE)
"""Names every MIRAX slide has. Any other may have been a patient's, and is counted, not quoted."""


def check_companions(path: Path) -> None:
    """Check the companions of a MIRAX or VMS slide; any other file has none that could be told.

    Raises:
        UnsupportedFormat: some are missing, or the list of them is damaged.
    """
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        _check_mirax(path.with_suffix(""))
    elif suffix in (".vms", ".vmu"):
        sections = _sections(path, "Hamamatsu")
        named = {key: value for section in sections.values() for key, value in section.items()}
        wanted = [value for key, value in named.items() if value and re.match(r"(imagefile|mapfile)\b", key)]
        _check(path.parent, wanted, "Hamamatsu", "Copy all files of the slide into one folder.")


def _check_mirax(folder: Path) -> None:
    fix = "Copy the folder of the same name beside it, with all its files."
    if not folder.is_dir():
        raise UnsupportedFormat("The index of a MIRAX slide without its data.", fix)
    if not (folder / "Slidedat.ini").is_file():
        raise UnsupportedFormat("A MIRAX slide without its Slidedat.ini.", fix)
    sections = _sections(folder / "Slidedat.ini", "MIRAX")
    data, index = sections.get("DATAFILE", {}), sections.get("HIERARCHICAL", {})
    count = data.get("file_count", "")
    if not re.fullmatch(r"\d{1,5}", count) or int(count) > MOST_FILES or "indexfile" not in index:
        raise UnsupportedFormat("A MIRAX slide with a damaged Slidedat.ini.", fix)
    wanted = [index["indexfile"], *(data.get(f"file_{number}", "") for number in range(int(count)))]
    _check(folder, wanted, "MIRAX", fix)


def _check(folder: Path, wanted: list[str], maker: str, fix: str) -> None:
    missing = [name for name in wanted if not name or not (folder / Path(name).name).is_file()]
    if missing:
        named = [name for name in missing if USUAL_NAME.fullmatch(name)][:3]
        which = f" ({', '.join(named)}{', ...' if len(missing) > len(named) else ''})" if named else ""
        raise UnsupportedFormat(
            f"A {maker} slide of which {len(missing)} of {len(wanted)} files are missing{which}.", fix
        )


def _sections(path: Path, maker: str) -> Mapping[str, Mapping[str, str]]:
    """An INI file as sections of keys in lower case and values."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=False)
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            parser.read_string(file.read(MOST_BYTES))
    except (OSError, configparser.Error):
        raise UnsupportedFormat(f"A {maker} slide with a damaged index.", "Copy the file again.") from None
    return {name: dict(parser[name]) for name in parser.sections()}
