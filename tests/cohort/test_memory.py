"""A run's memory does not grow with the slide."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]


@pytest.fixture(scope="module")
def memory() -> ModuleType:
    spec = importlib.util.spec_from_file_location("memory_benchmark", ROOT / "benchmarks/memory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_slide_four_times_larger_needs_the_same(memory: ModuleType, tmp_path: Path) -> None:
    peaks = [
        memory.peak_mib(memory.write_tissue(tmp_path / f"{side}.tiff", side), tmp_path / f"run{side}")
        for side in (8000, 16000)
    ]
    assert peaks[1] < 1.1 * peaks[0]


def test_a_real_slide_stays_below_a_gigabyte_and_a_half(
    memory: ModuleType, real: Callable[[str], Path], tmp_path: Path
) -> None:
    assert memory.peak_mib(real("wsi/P-2_carotid_zoomify.tiff"), tmp_path / "run") < 1500
