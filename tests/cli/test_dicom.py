"""DICOM slides through `run`: three syntaxes of one image, and a sparse one with gaps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slidestream.features.store import open_store

from ..wsi import dicom_scans as ds

Cli = Callable[..., Any]


@pytest.mark.usefixtures("in_this_process")
def test_lossless_syntaxes_give_identical_embeddings_and_jpeg_close_ones(
    cli: Cli, real: Callable[[str], Path], tmp_path: Path
) -> None:
    names = ["raw", "jpeg2000", "jpeg"]
    options = ["--encoder", "texture", "--mpp", "16.783", "--force-spacing", "--min-tissue", "0"]
    ended = cli("run", *[real(f"wsi/{n}.dicom") for n in names], "-o", tmp_path / "run", *options)
    assert ended.code == 0
    raw, lossless, jpeg = (open_store(tmp_path / f"run/embeddings/{name}.zarr") for name in names)
    assert len(raw.coords()) == 12
    assert np.isfinite(raw.features()).all()
    np.testing.assert_array_equal(raw.features(), lossless.features())
    np.testing.assert_array_equal(raw.coords(), jpeg.coords())
    a, b = (np.asarray(store.features(), np.float64) for store in (raw, jpeg))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.9997  # 0.99983 measured
    assert (a != b).any()
    # Embeddings of one slide are alike anyway; what tells its patches apart has to agree as well.
    apart = [(matrix - matrix.mean(axis=0)).ravel() for matrix in (a, b)]
    assert np.corrcoef(*apart)[0, 1] > 0.99  # 0.998 measured


@pytest.mark.usefixtures("in_this_process")
def test_gaps_of_a_sparse_slide_lie_outside_and_are_not_white_patches(
    cli: Cli, mean_encoder: str, tmp_path: Path
) -> None:
    pixels = np.full((256, 320, 3), (180, 90, 150), np.uint8)
    pixels[::7, ::5] = 60
    places = [(0, 0), (64, 0), (70, 70), (10, 128)]  # frames of 64 px; off the grid, so that ours reads them
    ds.write(tmp_path / "a.dcm", pixels, ds.Scan(tile=(64, 64), sparse=True, places=places))
    options = ["--encoder", mean_encoder, "--patch-size", "64", "--mpp", "0.5", "--min-tissue", "0", "--json"]
    ended = cli("run", tmp_path / "a.dcm", "-o", tmp_path / "run", *options)
    (outcome,) = json.loads(ended.out)["outcomes"]
    assert (ended.code, outcome["unreadable"]) == (0, 0)
    store = open_store(tmp_path / "run/embeddings/a.zarr")
    seen = {
        (x, y): any(abs(x - px) < 64 and abs(y - py) < 64 for px, py in places) for x, y in store.coords()
    }
    assert 5 < sum(seen.values()) < 20
    for corner, status, embedding in zip(seen, store.status(), store.features(), strict=True):
        assert status == (0 if seen[corner] else 2)
        assert np.isnan(embedding).all() != seen[corner]
    np.testing.assert_allclose(store.features()[0], pixels[:64, :64].mean(axis=(0, 1)), rtol=1e-3)
