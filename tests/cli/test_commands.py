"""The command line as its user meets it: exit codes, streams, JSON, tables, refusals."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from slidestream.cohort import cluster
from slidestream.features.layout import list_stores
from slidestream.features.writer import StoreWriter

from ..conftest import call_main, register_mean

Cli = Callable[..., Any]


@pytest.fixture
def slides(tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]) -> Path:
    """Two good slides and one without mpp."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder / "a.tiff", tissue_pixels(600, 1), 0.5)
    write_slide(folder / "b.tiff", tissue_pixels(600, 2), 0.5)
    write_slide(folder / "no-mpp.tiff", tissue_pixels(600, 3), None)
    return folder


@pytest.mark.usefixtures("mean_encoder")
def test_a_folder_with_one_broken_slide(cli: Cli, slides: Path, tmp_path: Path) -> None:
    ended = cli("run", slides, "-o", tmp_path / "run", "--encoder", "mean")
    assert ended.code == 3
    assert "2 done, 1 failed" in ended.out
    assert "MPP_MISSING" in ended.out
    assert "--slide-mpp" in ended.out
    assert "a: " in ended.err
    failures = list(csv.DictReader((tmp_path / "run/failures.csv").read_text().splitlines()))
    assert [(row["slide_id"], row["code"]) for row in failures] == [("no-mpp", "MPP_MISSING")]
    resolved = yaml.safe_load((tmp_path / "run/slidestream.yaml").read_text())
    assert resolved["config"]["patch"]["size_px"] == 64, "from the encoder card"
    assert resolved["config"]["patch"]["overlap"] == 0.0, "every default is written out"

    fixed = cli("run", slides, "-o", tmp_path / "run", "--encoder", "mean", "--slide-mpp", "0.5")
    assert fixed.code == 0
    assert "a: up to date (same content, same configuration, store whole)" in fixed.err
    assert "no-mpp: to do (failed before (MPP_MISSING), tried again)" in fixed.err
    assert "1 done, 2 up to date" in fixed.out


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_json_is_one_document_on_stdout(cli: Cli, slides: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    document = json.loads(cli("run", slides, "-o", run, "--encoder", "mean", "--json").out)
    assert document["counts"] == {"done": 2, "failed": 1, "up_to_date": 0}
    info = cli("info", slides, "--json")
    assert info.code == 3
    by_id = {fact["slide_id"]: fact for fact in json.loads(info.out)["inputs"]}
    assert by_id["a"]["size"] == [600, 600]
    assert by_id["a"]["spacing"] == [0.5, 0.5]
    assert by_id["no-mpp"]["code"] == "MPP_MISSING"
    status = json.loads(cli("status", run, "--json").out)
    assert {row["slide_id"]: row["status"] for row in status["inputs"]} == {
        "a": "done",
        "b": "done",
        "no-mpp": "failed",
    }
    verified = cli("verify", run, "--json")
    assert verified.code == 0
    assert json.loads(verified.out) == {"run": str(run), "stores": 2, "problems": []}
    assert (
        json.loads(cli("plan", slides, "-o", run, "--encoder", "mean", "--json").out)["steps"][0]["todo"]
        is False
    )
    assert {card["name"] for card in json.loads(cli("encoders", "--json").out)["encoders"]} >= {
        "texture",
        "null",
    }


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_verify_names_the_store_and_the_array(cli: Cli, slides: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli("run", slides, "-o", run, "--encoder", "mean")
    chunk = run / "embeddings/b.zarr/coords/c/0/0"
    data = bytearray(chunk.read_bytes())
    data[0] ^= 255
    chunk.write_bytes(data)
    ended = cli("verify", run, "--json")
    assert ended.code == 4
    assert [(p["slide_id"], p["array"]) for p in json.loads(ended.out)["problems"]] == [("b", "coords")]
    healed = json.loads(cli("run", slides, "-o", run, "--encoder", "mean", "--json").out)
    assert [outcome["slide_id"] for outcome in healed["outcomes"]] == ["b", "no-mpp"]
    assert cli("verify", run).code == 0


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_status_counts_unreadable_patches_and_says_where(
    cli: Cli, real: Callable[[str], Path], tmp_path: Path
) -> None:
    slide, run = real("malformed/svs_mutants/tile_jpeg_garbage.svs"), tmp_path / "run"
    options = ["--encoder", "mean", "--mpp", "1", "--min-tissue", "0", "--readers", "0"]
    assert cli("run", slide, "-o", run, *options, "--max-unreadable", "0.1").code == 0
    (row,) = json.loads(cli("status", run, "--json").out)["inputs"]
    assert row["unreadable"] == len(row["quarantine"]) > 0
    assert all(len(corner) == 2 for corner in row["quarantine"])


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_plan_does_nothing(cli: Cli, slides: Path, tmp_path: Path) -> None:
    ended = cli("plan", slides, "-o", tmp_path / "run", "--encoder", "mean")
    assert ended.code == 0
    assert "3 of 3 to do" in ended.out
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--encoder", "textur"], 2, "Known encoders: texture"),
        (["--overlap", "1.5"], 2, "overlap 1.5 must be"),
        (["--mpp", "0.5"], 2, "--force-spacing"),
        (["--set", "patch.overlapp=0.5"], 2, "Did you mean 'overlap'?"),
        (["--set", "patch.overlap"], 2, "has no value"),
        (["--no-such-flag"], 2, "No such option"),
        (["--dask", "tcp://127.0.0.1:9"], 5, "No Dask scheduler"),
    ],
)
def test_mistakes_are_named_with_their_fix(
    cli: Cli,
    slides: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.2)
    ended = cli("run", slides, "-o", tmp_path / "run", *arguments)
    assert ended.code == code
    assert message in " ".join(ended.err.split())
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_settings_from_a_file_flags_and_set(cli: Cli, slides: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("encoder: mean\npatch: {overlap: 0.25, size_px: 32}\n")
    run = tmp_path / "run"
    options = ["--config", tmp_path / "s.yaml", "--patch-size", "48", "--set", "patch.min_tissue=0.9"]
    cli("run", slides, "-o", run, *options)
    patch = yaml.safe_load((run / "slidestream.yaml").read_text())["config"]["patch"]
    assert (patch["overlap"], patch["size_px"], patch["min_tissue"]) == (0.25, 48, 0.9)
    again = cli("run", slides, "-o", run, "--config", run / "slidestream.yaml")
    assert "2 up to date" in again.out
    other = cli("run", slides, "-o", run, "--encoder", "mean")
    assert other.code == 2
    assert "config.patch.overlap: 0.25 != 0.0" in other.err


@pytest.mark.usefixtures("in_this_process")
def test_null_reads_every_patch_and_stores_no_features(cli: Cli, slides: Path, tmp_path: Path) -> None:
    ended = cli("run", slides / "a.tiff", "-o", tmp_path / "run", "--encoder", "null", "--patch-size", "64")
    assert ended.code == 0
    store = tmp_path / "run/embeddings/a.zarr"
    assert not (store / "features").exists()
    assert (store / "coords").exists()


@pytest.fixture(scope="module")
def cohort(
    tmp_path_factory: pytest.TempPathFactory,
    write_slide: Callable[..., Path],
    tissue_pixels: Callable[..., Any],
) -> Path:
    """Twelve slides of twelve patients, two classes that differ in colour, and their labels."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "slides").mkdir()
    rows = ["slide,patient,label"]
    for i in range(12):
        pixels = tissue_pixels(600, i).astype(int)
        pixels[..., 1] -= 40 * (i % 2) * (pixels[..., 1] < 230)
        write_slide(folder / f"slides/s{i:02d}.tiff", pixels.clip(0, 255).astype(np.uint8), 0.5)
        rows.append(f"s{i:02d},p{i:02d},{'high' if i % 2 else 'low'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def encoded(cohort: Path) -> Path:
    """A run folder of the cohort. No test changes it."""
    with pytest.MonkeyPatch.context() as patched:
        options = ["--encoder", register_mean(patched), "--readers", "0"]
        assert call_main(patched, "run", cohort / "slides", "-o", cohort / "run", *options) == 0
    return cohort / "run"


@pytest.fixture(scope="module")
def head(cohort: Path, encoded: Path) -> Path:
    """A head of three folds, trained on it. No test changes it."""
    with pytest.MonkeyPatch.context() as patched:
        options = ["--labels", cohort / "labels.csv", "-o", cohort / "head", "--folds", "3"]
        assert call_main(patched, "train", encoded, *options) == 0
    return cohort / "head"


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_train_predict_and_heatmap(cli: Cli, cohort: Path, tmp_path: Path) -> None:
    run, head = tmp_path / "run", tmp_path / "head"
    assert cli("run", cohort / "slides", "-o", run, "--encoder", "mean").code == 0
    trained = cli("train", run, "--labels", cohort / "labels.csv", "-o", head, "--folds", "3", "--json")
    assert trained.code == 0
    assert json.loads(trained.out)["metrics"]["head"]["auroc"]["value"] == 1.0
    predicted = cli("predict", run, "--head", head, "-o", tmp_path / "p.csv", "--out-of-fold", "--json")
    by_slide = {row["slide"]: row for row in json.loads(predicted.out)["predictions"]}
    assert len(by_slide) == 12
    assert by_slide["s01"]["p_high"] > by_slide["s00"]["p_high"]
    assert len(list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))) == 12
    drawn = cli("heatmap", run, "--head", head, "-o", tmp_path / "maps", "--slide", "s01")
    assert drawn.code == 0
    with Image.open(tmp_path / "maps/s01.png") as picture:
        assert min(picture.size) > 200

    other = tmp_path / "other"
    cli("run", cohort / "slides", "-o", other, "--encoder", "mean", "--mpp", "2", "--patch-size", "32")
    refused = cli("predict", other, "--head", head)
    assert refused.code == 2
    assert "CONTRACT_MISMATCH" in refused.err
    assert "patch.spacing: 1.0 != 2.0" in refused.err
    assert "patch.size_px: 64 != 32" in refused.err


def test_ctrl_c_ends_with_130_and_the_command_to_go_on(
    cli: Cli, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes between two batches, while readers run; elsewhere it meets a process, amid a store."""
    command = ["run", slides / "b.tiff", slides / "a.tiff", "-o", tmp_path / "run", "--encoder", "null"]
    options = ["--patch-size", "16", "--mpp", "0.5", "--batch-size", "8"]
    with monkeypatch.context() as patched:
        append, ended = StoreWriter.append, []

        def interrupted(writer: StoreWriter, *given: Any) -> None:
            append(writer, *given)
            ended.append(given)
            if len(ended) == 3:
                signal.raise_signal(signal.SIGINT)

        patched.setattr(StoreWriter, "append", interrupted)
        stopped = cli(*command, *options)
    assert (stopped.code, len(ended)) == (130, 3)
    assert f"To go on: slidestream run {slides / 'b.tiff'}" in stopped.err
    assert list_stores(tmp_path / "run") == []
    assert cli(*command, *options, "--readers", "0").code == 0
    assert len(list_stores(tmp_path / "run")) == 2


def test_help_says_what_holds_where_nothing_is_said(cli: Cli) -> None:
    shown = " ".join(cli("run", "--help").out.replace("│", " ").split())
    for default in ("[default: 64]", "[default: 32; what pays on a GPU]", "[default: from the encoder card]"):
        assert default in shown


def test_help_and_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("slidestream 0.")
    for command in ("", "run", "demo", "train", "predict", "heatmap", "verify", "doctor"):
        ended = cli(*filter(None, [command, "--help"]))
        assert ended.code == 0
        assert "Usage" in ended.out


def test_what_is_no_run_folder_is_said_so(cli: Cli, tmp_path: Path) -> None:
    for command in ("status", "verify"):
        ended = cli(command, tmp_path)
        assert (ended.code, "is not a run folder" in ended.err) == (2, True)
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_sets_and_abstentions_come_with_an_error_rate(
    cli: Cli, cohort: Path, encoded: Path, tmp_path: Path
) -> None:
    run, head = encoded, tmp_path / "head"
    labels = ("--labels", cohort / "labels.csv")
    trained = cli("train", run, *labels, "-o", head, "--folds", "3", "--task", "corn")
    assert trained.code == 0, trained.err
    for rate, largest, abstain in (("0.2", "2", "no"), ("0.01", "1", "yes")):  # 0.01 needs 99 slides
        asked = ("--error-rate", rate, "--largest-set", largest, "--json")
        rows = json.loads(cli("predict", run, "--head", head, *asked).out)["predictions"]
        assert {row["abstain"] for row in rows} == {abstain}
        assert all(row["predicted"] in row["set"].split("|") for row in rows)
    assert cli("predict", run, "--head", head, "--error-rate", "2").code == 2


@pytest.fixture
def draw(
    write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]
) -> tuple[Callable[..., Path], Callable[..., Any]]:
    return write_slide, tissue_pixels


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_grades_of_patients_thresholds_and_what_deserves_no_trust(
    cli: Cli,
    encoded: Path,
    head: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    draw: tuple[Callable[..., Path], Callable[..., Any]],
) -> None:
    write_slide, tissue_pixels = draw
    run, table = encoded, tmp_path / "patients.csv"
    table.write_text("slide,patient\n" + "".join(f"s{i:02d},q{i // 4}\n" for i in range(8)) + "gone,q9\n")
    ended = cli("predict", run, "--head", head, "--patients", table, "-o", tmp_path / "p.csv")
    assert ended.code == 3
    assert "gone of patient q9 has no embeddings" in ended.err
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert [row["patient"] for row in rows] == ["q0", "q1"]
    assert rows[1]["slides"] == "s04|s05|s06|s07"
    assert "2 of 2 were trained on" in ended.err

    called = cli("predict", run, "--head", head, "--sensitivity", "0.8", "--out-of-fold", "--json")
    assert {(r["called"], r["seen"]) for r in json.loads(called.out)["predictions"]} == {
        ("high", "no"),
        ("low", "no"),
    }
    assert "low is called from a probability of" in called.err
    few = cli("predict", run, "--head", head, "--sensitivity", "0.99")
    assert (few.code, "6 positive slides are too few" in few.err) == (2, True)

    monkeypatch.setattr("slidestream.cli.predicting.UNFAMILIAR", 0.1)  # twelve slides cannot say 0.05
    pixels = tissue_pixels(600, 0).astype(int)
    pixels[..., 2] -= 90 * (pixels[..., 1] < 230)
    write_slide(tmp_path / "odd.tiff", pixels.clip(0, 255).astype(np.uint8), 0.5)
    assert cli("run", tmp_path / "odd.tiff", "-o", tmp_path / "odd", "--encoder", "mean").code == 0
    told = cli("predict", tmp_path / "odd", "--head", head)
    assert "1 of 1 are unlike the training slides: odd." in told.err


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_heads_of_every_kind_train_from_the_command_line(
    cli: Cli, cohort: Path, encoded: Path, tmp_path: Path
) -> None:
    run = encoded
    labels = ("--labels", cohort / "labels.csv", "--folds", "2", "--epochs", "1", "--json")
    for name in (
        "mean",
        "clam-mb",
        "dtfd",
        "alibi",
    ):  # one of each kind: every head is trained in tests of `mil`
        trained = cli("train", run, *labels, "-o", tmp_path / name, "--head", name)
        assert trained.code == 0, trained.err
        predicted = json.loads(cli("predict", run, "--head", tmp_path / name, "--json").out)["predictions"]
        assert len(predicted) == 12
    assert "Known heads: mean, max" in cli("train", run, *labels, "-o", tmp_path / "x", "--head", "y").err
