"""`run` on the folder of real slides: who gets a store, who is named, with which code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slidestream.features.store import open_store

Cli = Callable[..., Any]

EXPECTED = {
    "CMU-1-Small-Region": "",
    "P-2_carotid_zoomify": "",
    "test3-DAPI-2-(387)": "NOT_BRIGHTFIELD",
    "CropBreastSlide.tif": "MPP_IMPLAUSIBLE",
    "CropBreastSlide.tiff": "MPP_IMPLAUSIBLE",
    "boxes": "MPP_IMPLAUSIBLE",
    "multi_frame_jpeg_camelyon_challenge_image": "MPP_IMPLAUSIBLE",
    "boxes_0": "TOO_SMALL",
    "small": "TOO_SMALL",
    "raw": "SPACING_TOO_FINE",
    "jpeg": "SPACING_TOO_FINE",
    "jpeg2000": "SPACING_TOO_FINE",
}


@pytest.fixture(scope="module")
def coarse() -> list[str]:
    """Options under which the overview-like DICOM slides (16.8 µm per px) can be read too."""
    return ["--encoder", "null", "--patch-size", "64", "--mpp", "17"]


def test_every_real_slide_ends_as_it_should(cli: Cli, real: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("run", real("wsi"), "-o", run, "--encoder", "null", "--json")
    ended = cli(*command)
    assert ended.code == 3
    outcomes = {o["slide_id"]: o for o in json.loads(ended.out)["outcomes"]}
    assert {slide: outcome["code"] for slide, outcome in outcomes.items()} == EXPECTED
    assert all(o["cause"] and o["fix"] for o in outcomes.values() if o["code"])
    assert outcomes["P-2_carotid_zoomify"]["patches"] > 1500
    assert outcomes["CMU-1-Small-Region"]["patches"] > 8
    assert json.loads(cli("verify", run, "--json").out)["stores"] == 2
    again = json.loads(cli(*command).out)
    assert {o["slide_id"] for o in again["outcomes"]} == {slide for slide, code in EXPECTED.items() if code}
    assert len(again["up_to_date"]) == 2


@pytest.mark.usefixtures("in_this_process")
def test_fluorescence_is_read_when_it_is_asked_for(
    cli: Cli, real: Callable[[str], Path], tmp_path: Path
) -> None:
    slide = real("wsi/test3-DAPI-2-(387).ndpi")
    ended = cli("run", slide, "-o", tmp_path / "run", "--encoder", "null", "--segmenter", "dark", "--json")
    assert ended.code == 0
    (outcome,) = json.loads(ended.out)["outcomes"]
    assert outcome["patches"] > 0


@pytest.mark.usefixtures("in_this_process")
def test_dicom_slides_at_their_own_spacing(
    cli: Cli, real: Callable[[str], Path], coarse: list[str], tmp_path: Path
) -> None:
    names = ["raw", "jpeg", "jpeg2000"]
    ended = cli("run", *[real(f"wsi/{n}.dicom") for n in names], "-o", tmp_path / "run", *coarse)
    assert ended.code == 0
    stores = [open_store(tmp_path / f"run/embeddings/{name}.zarr") for name in names]
    assert [store.attributes["counts"]["ok"] for store in stores] == [len(s.coords()) for s in stores]
    assert len(stores[0].coords()) > 10


@pytest.mark.usefixtures("in_this_process")
def test_volumes_have_three_coordinates(cli: Cli, real: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    inputs = [real("radiology/TotalSegmentator/example_ct.nii.gz"), real("radiology/dcm_qa_ct")]
    ended = cli("run", *inputs, "-o", run, "--json")
    assert ended.code == 0
    for name, slices in (("example_ct", 112), ("S2010", 28)):
        store = open_store(run / f"embeddings/{name}.zarr")
        assert store.coords().shape[1] == 3
        assert len(store.coords()) > 0
        assert store.coords()[:, 2].max() <= slices - 3
        assert store.features().shape == (len(store.coords()), store.attributes["encoder"]["dim"])
        assert store.attributes["source"]["kind"] == "volume"
    assert cli("verify", run).code == 0
