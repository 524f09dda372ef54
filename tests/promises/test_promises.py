"""The promises that hold whatever is thrown at a run; what can befall it is tested beside this file."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slidestream.features.store import open_store

from .conftest import SMALL, Cli, Draw, Plant, Spawn, codes, tree

QUICK = [*SMALL, "--readers", "0"]


def test_1_each_loss_is_as_small_as_its_cause_and_the_exit_code_tells(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path]
) -> None:
    slides = draw_slides("a", "b", "c")
    good = cli("run", slides, "-o", tmp_path / "good", *QUICK)
    (slides / "b.tiff").write_bytes(b"not what it was")
    ended = cli("run", slides, "-o", tmp_path / "run", *QUICK, "--json")
    assert (good.code, ended.code) == (0, 3)
    assert codes(ended) == {"a": "", "b": "UNSUPPORTED_FORMAT", "c": ""}
    clean = tree(tmp_path / "good/embeddings")
    assert tree(tmp_path / "run/embeddings") == {k: v for k, v in clean.items() if not k.startswith("b.")}
    with open(tmp_path / "run/failures.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["slide_id"], row["code"]) == ("b", "UNSUPPORTED_FORMAT")
    assert row["cause"]
    assert row["fix"]


def test_2_whenever_it_was_killed_a_run_resumes_to_the_same_bytes(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path], plant: Plant, spawn: Spawn
) -> None:
    """Killed twice, the second time some opened files later; every moment is tried below the command line."""
    slides, run = draw_slides("a", "b"), tmp_path / "run"
    options = ["--encoder", "null", "--patch-size", "64", "--mpp", "1", "--readers", "0"]
    cli("run", slides, "-o", tmp_path / "whole", *options)
    planted = plant(
        'if event == "open" and run in str(given[0]):\n'
        '    seen["files"] = seen.get("files", 0) + 1\n'
        '    if seen["files"] == int(os.environ["LAST"]):\n'
        "        os.kill(os.getpid(), signal.SIGKILL)",
        run=str(run),
        seen={},
    )
    ends = []
    for last in (5, 21):
        killed = spawn("run", slides, "-o", run, *options, env=planted | {"LAST": str(last)})
        killed.communicate(timeout=60)
        ends.append(killed.returncode)
    assert ends == [-9, -9]
    assert cli("run", slides, "-o", run, *options).code == 0
    assert tree(run / "embeddings") == tree(tmp_path / "whole/embeddings")


def test_3_what_changes_a_result_is_refused_and_never_guessed(
    cli: Cli, tmp_path: Path, write_slide: Draw, tissue_pixels: Draw
) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    for name, mpp in (
        ("none", None),
        ("fine", 0.049),
        ("coarse", 20.1),
        ("uneven", (0.5, 1.0)),
        ("good", 0.5),
    ):
        write_slide(slides / f"{name}.tiff", tissue_pixels(600), mpp)
    found = codes(cli("run", slides, "-o", tmp_path / "run", *QUICK, "--json"))
    wrong = dict.fromkeys(("fine", "coarse", "uneven"), "MPP_IMPLAUSIBLE")
    assert found == {"good": "", "none": "MPP_MISSING"} | wrong
    refused = cli("run", slides / "good.tiff", "-o", tmp_path / "texture", "--mpp", "0.5")
    assert (refused.code, "--force-spacing" in refused.err) == (2, True), (
        "a spacing the encoder does not know"
    )
    mixed = cli("run", slides / "good.tiff", "-o", tmp_path / "run", *QUICK[2:], "--encoder", "null")
    assert (mixed.code, 'config.encoder: "mean" != "null"' in mixed.err) == (2, True)


NO_NETWORK = """
if not event.startswith("socket."):
    return
asks = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind")
where = given[1] if event in asks[:2] + asks[4:] else given
if event in asks and isinstance(where, tuple) and str(where[0]) not in ("127.0.0.1", "::1", "localhost"):
    os.write(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), f"{event} {where}".encode())
    raise OSError(101, "Network is unreachable")
"""


COMMANDS = """
import sys
from slidestream.cli.app import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["slidestream", *line.split("|")]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, line
"""
"""Runs several commands in one process, so that torch is loaded once."""


def test_6_nothing_goes_over_the_network(
    tmp_path: Path, draw_slides: Callable[..., Path], plant: Plant
) -> None:
    """With the encoder that is the default, in processes that have no way out and tell who wanted one."""
    names, log = [f"s{i}" for i in range(8)], tmp_path / "log"
    slides, run, head = draw_slides(*names, side=700), tmp_path / "run", tmp_path / "head"
    lines = [f"{name},{name},{'high' if i % 2 else 'low'}" for i, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["slide,patient,label", *lines]) + "\n")
    commands = [
        ["run", slides, "-o", run, "--readers", 1],
        ["train", run, "--labels", tmp_path / "labels.csv", "-o", head, "--folds", 2, "--epochs", 2],
        ["predict", run, "--head", head],
        ["heatmap", run, "--head", head, "-o", tmp_path / "maps", "--slide", "s0"],
        ["doctor", tmp_path],
    ]
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input="\n".join("|".join(map(str, command)) for command in commands),
        env=plant(NO_NETWORK, log=str(log)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "maps/s0.png").exists()
    assert not log.exists(), log.read_text()


def test_6_the_watch_would_have_seen_a_connection(tmp_path: Path, plant: Plant) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    env = plant(NO_NETWORK, log=str(tmp_path / "log"))
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "Network is unreachable" in ended.stderr
    assert "192.0.2.1" in (tmp_path / "log").read_text()


def test_7_results_depend_neither_on_batches_nor_on_workers_nor_on_order(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path]
) -> None:
    slides = draw_slides("a", "b", side=900)
    files = sorted(slides.iterdir())
    options = ["--encoder", "texture", "--patch-size", "64", "--mpp", "1", "--force-spacing"]
    ways = {
        "one": [*files, "--batch-size", 1, "--workers", 1, "--readers", 0],
        "two": [*reversed(files), "--batch-size", 64, "--workers", 4, "--readers", 2],
    }
    for name, way in ways.items():
        assert cli("run", *way, "-o", tmp_path / name, *options).code == 0
    for name in ("a", "b"):
        one, two = (open_store(tmp_path / way / f"embeddings/{name}.zarr") for way in ways)
        for array in ("coords", "status", "tissue", "thumbnail", "mask"):
            np.testing.assert_array_equal(one.read(array), two.read(array))
        np.testing.assert_allclose(one.features(), two.features(), rtol=1e-4, atol=1e-5)
