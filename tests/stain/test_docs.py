"""The examples of docs/stain.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs/stain.md"


def test_the_python_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "stain.md", "exec"), names)
    before, after = names["patches"].float(), names["jittered"].float()
    assert after.shape == before.shape
    assert 1 < (after - before).abs().mean() < 30
