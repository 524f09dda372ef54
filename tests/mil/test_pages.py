"""Large pages are asked for where torch will read it, and never against the user's choice."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slidestream.mil.pages import ASKED, ask_for_large_pages


def test_what_was_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ASKED, "0")
    ask_for_large_pages()
    assert (
        subprocess.run(
            [sys.executable, "-c", f"import os; print(os.environ[{ASKED!r}])"],
            capture_output=True,
            check=True,
        ).stdout.strip()
        == b"0"
    )


def test_nothing_of_torch_is_loaded_for_it() -> None:
    """It would be too late once torch has allocated."""
    code = (
        "import sys, os; from slidestream.mil.pages import ask_for_large_pages as ask; ask();"
        f"print('torch' in sys.modules, os.environ.get({ASKED!r}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert told.split() == ["False", "1"]
