"""What stands in a slide's label, macro or description never leaves the file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

CANARY = "CANARY-Jane-Doe-1961-04-01"


def _canary_picture(side: int) -> np.ndarray:
    """A picture whose pixels spell the canary, so that a copy of them could be found in a file."""
    text = np.frombuffer((CANARY * (side * side * 3 // len(CANARY) + 1)).encode(), np.uint8)
    return text[: side * side * 3].reshape(side, side, 3).copy()


def _write_svs(path: Path, pixels: np.ndarray) -> None:
    """A slide laid out as Aperio's scanners do, with the canary wherever a patient could be named."""
    facts = f"Aperio Image Library v11.2.1|AppMag = 20|MPP = 0.5|Patient = {CANARY}|User = {CANARY}"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, tile=(256, 256), photometric="rgb", description=facts, metadata=None)
        for name, kind in (("thumbnail", 0), ("label", 1), ("macro", 9)):
            tiff.write(
                _canary_picture(64),
                photometric="rgb",
                subfiletype=kind,
                rowsperstrip=64,
                description=f"Aperio Image Library v11.2.1\r\n{name} 64x64 {CANARY}",
                metadata=None,
                extratags=[(315, "s", 0, CANARY, True)],
            )


def test_no_output_log_or_traceback_holds_the_canary(
    tmp_path: Path, tissue_pixels: Callable[..., Any]
) -> None:
    slides, run = tmp_path / "slides", tmp_path / "run"
    slides.mkdir()
    _write_svs(slides / "good.svs", tissue_pixels(700))
    whole = (slides / "good.svs").read_bytes()
    assert whole.count(CANARY.encode()) > 100
    (slides / "cut.svs").write_bytes(whole[: len(whole) // 2])
    (slides / "no-mpp.svs").write_bytes(whole.replace(b"MPP = 0.5", b"MPQ = 0.5"))
    (slides / "bad-mpp.svs").write_bytes(whole.replace(b"MPP = 0.5", b"MPP = 0.0"))
    (slides / "flipped.svs").write_bytes(whole[:8] + whole[8:2000][::-1] + whole[2000:])

    shown = []
    for command in (
        ["info", str(slides)],
        ["info", str(slides), "--json"],
        ["run", str(slides), "-o", str(run), "--patch-size", "96", "--encoder", "null"],
        ["status", str(run), "--json"],
        ["verify", str(run)],
    ):
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "slidestream", *command],
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONWARNINGS": "default"},
        )
        shown.append(ended.stdout + ended.stderr)
    assert b"good" in shown[0]
    assert (run / "embeddings/good.zarr").exists(), shown[2].decode()
    written = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    for text in [*shown, *written]:
        for part in (CANARY, "Jane", "1961-04-01"):
            assert part.encode() not in text
