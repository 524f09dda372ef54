"""A voxel planted in a volume is found in the patch whose coordinates say so, through the whole path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.process import Job, process
from slidestream.features.store import open_store
from slidestream.radiology.volume import open_volume
from slidestream.tiling.spec import PatchSpec

nibabel = pytest.importorskip("nibabel", reason="needs slidestream[radiology]")


def write(path: Path, planted: tuple[int, int, int] | None) -> Path:
    """A CT of 80 x 60 x 12 voxels of 2 x 2 x 5 mm: a body of 40 HU, and bone at a known place."""
    voxels = np.full((80, 60, 12), -1000, np.int16)
    voxels[8:72, 6:54] = 40
    if planted:
        x, y, z = planted
        voxels[x : x + 2, y : y + 2, z] = 900
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 5.0, 1.0])), path)
    return path


@pytest.mark.usefixtures("mean_encoder")
@pytest.mark.parametrize("planted", [(20, 20, 1), (41, 33, 5), (60, 48, 11)])
def test_planted_voxel(tmp_path: Path, planted: tuple[int, int, int]) -> None:
    config = RunConfig("mean", volume=PatchSpec(16, 2000.0, min_tissue=0.0))
    stores = []
    for name, where in (("with", planted), ("without", None)):
        path = write(tmp_path / f"{name}.nii", where)
        outcome = process(Job(Input(name, str(path), "volume"), config, tmp_path / "run", Execution()))
        assert outcome.status == "done", outcome.cause
        stores.append(open_store(tmp_path / f"run/embeddings/{name}.zarr"))
    changed = np.flatnonzero((stores[0].features() != stores[1].features()).any(axis=1))

    with open_volume(tmp_path / "with.nii") as volume:
        world = np.diag([2.0, 2.0, 5.0, 1.0]) @ [*planted, 1]
        voxel = np.linalg.solve(volume.affine, world)[:3].round()
    coords, extent = stores[0].coords(), np.array(stores[0].attributes["extent"])
    holds = ((coords <= voxel) & (voxel < coords + extent)).all(axis=1)
    assert coords.shape[1] == 3
    assert holds.sum() >= 1
    # The filter reaches two pixels over a patch's edge; the block is one pixel wide.
    near = ((coords - 4 <= voxel) & (voxel < coords + extent + 4)).all(axis=1)
    assert set(np.flatnonzero(holds)) <= set(changed)
    assert near[changed].all()
    channel = int(voxel[2] - coords[holds][0][2])
    difference = np.abs(stores[0].features() - stores[1].features())[holds][0]
    assert difference.argmax() == channel
    assert (np.delete(difference, channel) == 0).all()
