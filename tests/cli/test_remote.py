"""URLs among the inputs: read where they are, known by their content."""

import json

import numpy as np
import pytest

from slidestream.cohort.inputs import find_inputs
from slidestream.errors import UsageError
from slidestream.features.store import open_store

from ..served import serving


@pytest.fixture
def serve(monkeypatch):
    yield from serving(monkeypatch)


def test_urls_are_inputs_beside_files_and_in_manifests(tmp_path):
    (tmp_path / "c.svs").touch()
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,mpp\ns3://bucket/x/a.svs,0.25\nc.svs,\nhttps://h/b.svs?key=SECRET,\n")
    found = {item.slide_id: item for item in find_inputs([manifest]).inputs}
    assert {name: item.path for name, item in found.items()} == {
        "a": "s3://bucket/x/a.svs",
        "b": "https://h/b.svs?key=SECRET",
        "c": str(tmp_path / "c.svs"),
    }
    assert found["a"].mpp == 0.25
    again = find_inputs([*map(type(tmp_path), ["https://h/x/a.svs", "https://h/y/a.svs"]), tmp_path])
    assert [item.slide_id for item in again.inputs] == ["c", "h/x/a.svs", "h/y/a.svs"]
    with pytest.raises(UsageError):
        find_inputs([tmp_path / "https" / "none.svs"])


@pytest.mark.usefixtures("in_this_process")
def test_info_plan_and_run_take_a_url(cli, serve, tmp_path, write_slide, tissue_pixels, mean_encoder):
    (tmp_path / "slides").mkdir()
    write_slide(tmp_path / "slides" / "a.tiff", tissue_pixels(1200), 0.5)
    url = f"{serve(tmp_path / 'slides').url}/a.tiff"
    shown = json.loads(cli("info", url, "--phi", "--json").out)["inputs"][0]
    assert (shown["path"], shown["size"], shown["spacing"]) == (url, [1200, 1200], [0.5, 0.5])
    assert shown["identifying"] == ["not looked for behind a URL"]
    options = ["--encoder", mean_encoder, "--mpp", "1.0"]
    for place, run in ((url, "remote"), (tmp_path / "slides", "local")):
        assert cli("run", place, "-o", tmp_path / run, *options, "--readers", "0").code == 0
    ours, theirs = (open_store(tmp_path / run / "embeddings" / "a.zarr") for run in ("remote", "local"))
    np.testing.assert_array_equal(ours.features(), theirs.features())
    assert len(ours.features()) > 4
    assert "same content" in cli("plan", url, "-o", tmp_path / "remote", *options).out


def test_a_server_that_is_not_there_is_one_failed_input(cli, tmp_path):
    ended = cli("info", "http://127.0.0.1:9/a.svs", "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["inputs"][0]["code"] == "INPUT_NOT_FOUND"
