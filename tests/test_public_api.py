"""What `import slidestream` offers, and that it costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import slidestream


def test_every_name_is_there_and_documented() -> None:
    for name in slidestream.__all__:
        assert getattr(slidestream, name) is not None
        assert name == "__version__" or getattr(slidestream, name).__doc__
    assert dir(slidestream) == sorted(slidestream.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        slidestream.nothing  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(str(slidestream.__file__)).read_text())
    names = {alias.asname for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for alias in n.names}
    assert names - {None} == set(slidestream.__all__) - {"__version__"}


def test_importing_is_free() -> None:
    code = "import sys, slidestream; print(sorted({'numpy', 'torch', 'openslide'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
