"""What a file says of a patient stays in it, whichever command meets it, whole or broken."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from typer.main import get_command

from slidestream.cli.app import app

from . import planted

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]

INPUTS = ["broken", "cohort", "foreign", "labels.csv", "manifest.csv", "volumes"]
VOLUMES = ["--encoder", "null", "--volume-px", "8", "--volume-mm", "1", "--set", "volume.min_tissue=0"]


def calls(place: Path, out: Path) -> dict[str, list[list[str]]]:
    """How each command is called, in this order, on the inputs below `place` and with results below `out`."""
    cohort, broken, volumes = (str(place / name) for name in ("cohort", "broken", "volumes"))
    run, read, other, dicom = (str(out / name) for name in ("run", "read", "volumes", "dicom"))
    head, labels, manifest = str(out / "head"), str(place / "labels.csv"), str(place / "manifest.csv")
    small = ["--set", "patch.size_px=96"]
    null = ["--encoder", "null", "--patch-size", "96", "--mpp", "1"]
    mm17 = ["--encoder", "null", "--patch-size", "64", "--mpp", "17", "--readers", "0"]
    return {
        "info": [[cohort, broken, volumes], [cohort, broken, volumes, "--phi", "--slide-mpp", "0.5"]],
        "plan": [[broken, "-o", read, *null], [volumes, "-o", other, *VOLUMES]],
        "run": [
            [cohort, "-o", run, "--patch-size", "96", "--mpp", "1"],
            [broken, "-o", read, *null],
            [manifest, "-o", read, *null, "--readers", "0"],
            [volumes, "-o", other, *VOLUMES, "--readers", "0"],
            [broken, "-o", dicom, *mm17],
        ],
        "explain": [[run, "s0"], [read, "latin"], [read, "latin-cut30"], [read, "nobody"]],
        "retry": [[read]],
        "status": [[run], [read], [other, "--rebuild"], [cohort]],
        "verify": [[run], [read], [cohort]],
        "tissue": [[read, "-o", str(out / "tissue")]],
        "stain-report": [
            [cohort, "-o", str(out / "stain"), "--labels", labels, "--column", "label", *small],
            [broken, "-o", str(out / "stains"), *small],
        ],
        "train": [[run, "--labels", labels, "-o", head, "--folds", "2", "--epochs", "2"]],
        "predict": [
            [run, "--head", head, "-o", str(out / "p.csv")],
            [run, "--head", head, "--out-of-fold"],
            [run, "--head", head, "--patients", labels],
            [other, "--head", head],
            [run, "--head", cohort],
        ],
        "heatmap": [
            [run, "--head", head, "-o", str(out / "maps"), "--slide", "s0"],
            [run, "--head", head, "-o", str(out / "maps"), "--slide", "nobody"],
        ],
        "evaluate": [[head, "--by", "patient"]],
        "encoders": [[], ["show", "uni"]],
        "pool": [[run, "-o", str(out / "slides.npz"), "--device", "cpu"]],
        "export": [[run, "--format", form, "-o", str(out / form)] for form in ("trident", "anndata")],
        "import": [
            [str(place / "foreign"), "-o", str(out / "foreign")],
            [str(out / "trident"), "-o", str(out / "back")],
        ],
        "doctor": [[str(out)]],
        "demo": [],  # draws its own slides
    }


def test_every_command_is_called() -> None:
    """A command that is added is added above, too."""
    assert set(calls(Path(), Path())) == set(COMMANDS)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, tissue_pixels: Callable[..., Any], real: Callable[[str], Path]
) -> Path:
    """Folders `cohort`, `broken`, `volumes` and `foreign`, a manifest that says too much, and labels."""
    place, pixels = tmp_path_factory.mktemp("planted"), tissue_pixels(400)
    cohort, broken, volumes, foreign = (place / name for name in ("cohort", "broken", "volumes", "foreign"))
    for folder in (cohort, broken, volumes, foreign):
        folder.mkdir()
    for seed in range(8):
        planted.write_aperio(cohort / f"s{seed}.svs", tissue_pixels(400, seed))
    for name, mpp in (("none", ""), ("zero", "0"), ("words", planted.ALL)):
        planted.write_aperio(broken / f"mpp-{name}.svs", pixels, mpp)
    planted.write_aperio(broken / "latin.svs", pixels, encoding="latin-1")
    planted.write_ome(broken / "ome.tiff", pixels)
    planted.write_pictures(broken, pixels)
    planted.write_mirax(broken)
    planted.write_ct(volumes / "ct")
    planted.write_nifti(volumes / "a.nii")
    planted.write_nifti(volumes / "b.nii.gz")
    planted.write_h5(foreign / "f.h5")
    planted.break_copies(foreign / "f.h5", foreign)
    _add_dicom_slide(broken, real)
    for name in ("latin.svs", "ome.tiff", "picture.png", "dicom.dcm"):
        planted.break_copies(broken / name, broken)
    for name in ("b.nii.gz", "ct/0.dcm"):
        planted.break_copies(volumes / name, volumes)
    rows = [f"{path},{path.name},0.5,{planted.ALL}" for path in sorted(broken.rglob("*.svs"))]
    (place / "manifest.csv").write_text("\n".join(["path,slide_id,mpp,patient", *rows]) + "\n")
    labels = [f"s{seed},p{seed},{'high' if seed % 2 else 'low'}" for seed in range(8)]
    (place / "labels.csv").write_text("\n".join(["slide,patient,label", *labels]) + "\n")
    return place


def _add_dicom_slide(broken: Path, real: Callable[[str], Path]) -> None:
    """Without the real data a file that only begins like one takes its place."""
    try:
        header = planted.pydicom.dcmread(real("wsi/raw.dicom"))
    except pytest.skip.Exception:
        (broken / "dicom.dcm").write_bytes(b"\0" * 128 + b"DICM" + planted.ALL.encode() * 100)
        return
    planted.name_patient(header)
    header.save_as(broken / "dicom.dcm")


DRIVER = """
import contextlib, json, sys, traceback
from pathlib import Path
from slidestream import open_slide
from slidestream.cli.app import main
from slidestream.cohort import apart, readers
from slidestream.radiology.volume import open_volume

work = json.load(sys.stdin)
codes = []
for command in work["commands"]:
    children = (command[0] == "run" or "--phi" in command) and "--json" not in command
    apart.may_have_children = readers.may_have_children = lambda: children
    sys.argv = ["slidestream", *command]
    try:
        main()
    except SystemExit as ended:
        codes.append(ended.code or 0)
for path in map(Path, work["files"]):
    for opener in (open_slide, open_volume):
        try:
            with opener(path) as source:
                print(repr(source), source, vars(source), source.describe(), source.thumbnail(100).shape)
        except Exception:
            traceback.print_exc()
Path(work["codes"]).write_text(json.dumps(codes))
"""
"""All commands in one process, so that torch is loaded once; then every file is opened and described.

Processes that read, each a second to start, are left to `info --phi` and `run`, and show what they log.
"""

LOUD = """
import logging, warnings
logging.basicConfig(level=logging.DEBUG)
logging.captureWarnings(False)
warnings.simplefilter("always")
"""
"""Run first by every process: everything that anybody logs or warns of is shown."""


def takes_json(name: str) -> bool:
    return any("--json" in parameter.opts for parameter in COMMANDS[name].params)


@pytest.fixture(scope="module")
def called(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, list[int]], Path]:
    """What all commands have shown, their exit codes by name, and the folder they have written to.

    All are called once plainly, and all that can once more with --json.
    """
    out = tmp_path_factory.mktemp("called")
    (out / "results").mkdir()
    (out / "sitecustomize.py").write_text(LOUD)
    plain = [(name, *given) for name, many in calls(place, out / "results").items() for given in many]
    as_json = [(*command, "--json") for command in plain if takes_json(command[0])]
    files = [str(path) for path in sorted(place.rglob("*.*")) if path.suffix != ".csv"]
    work = {"commands": [*plain, *as_json], "files": files, "codes": str(out / "codes.json")}
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(work).encode(),
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(out), "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr[-3000:].decode(errors="replace")
    codes: dict[str, list[int]] = {}
    found = json.loads((out / "codes.json").read_text())
    for command, code in zip(work["commands"], found, strict=True):
        codes.setdefault(command[0], []).append(code)
    return ended.stdout + ended.stderr, codes, out / "results"


Called = tuple[bytes, dict[str, list[int]], Path]


def test_nothing_shown_or_logged_names_the_patient(called: Called) -> None:
    assert planted.leaks(called[0]) == [], _around(called[0])
    assert called[0].count(b"DEBUG:") > 10, "what is logged was shown"
    assert called[0].count(b"Traceback") > 10, "and what is raised"


def test_nothing_written_names_the_patient_and_nothing_is_written_elsewhere(
    place: Path, called: Called
) -> None:
    written = [path for path in called[2].rglob("*") if path.is_file()]
    for path in written:
        assert planted.leaks(planted.all_of(path)) == [], path
        assert planted.leaks(str(path).encode()) == []
    suffixes = {path.suffix for path in written}
    assert {".sqlite", ".csv", ".yaml", ".json", ".png", ".safetensors"} <= suffixes
    assert sorted(path.name for path in place.iterdir()) == INPUTS


def test_all_commands_got_to_work(called: Called) -> None:
    """What was shown and written proves nothing otherwise."""
    codes = called[1]
    assert {name for name, ends in codes.items() if 1 in ends} == set(), codes
    assert codes["run"] == [0, 3, 3, 3, 3] * 2
    assert all(codes[name][0] == 0 for name in ("plan", "status", "verify", "tissue", "train", "predict"))
    assert codes["heatmap"] == [0, 4] * 2
    assert (codes["export"], codes["import"]) == ([0, 0] * 2, [3, 0] * 2)
    stores = {
        "run/embeddings/s7",
        "read/embeddings/latin",
        "read/embeddings/ome",
        "read/embeddings/latin.svs",
    }
    stores |= {"foreign/embeddings/f", "back/embeddings/s7"}
    stores |= {f"volumes/embeddings/{name}" for name in ("a", "b", "ct")}
    assert {name for name in stores if not (called[2] / f"{name}.zarr").exists()} == set()


def _around(shown: bytes) -> str:
    """The lines with a leak, for whoever must find it."""
    return "\n".join(
        line.decode(errors="replace")[:300] for line in shown.splitlines() if planted.leaks(line)
    )


def test_the_patient_is_named_in_every_file(place: Path) -> None:
    whole = ["latin.svs", "ome.tiff", "picture.png", "photo.jpg", "mirax.mrxs", "mirax/Slidedat.ini"]
    for path in [place / "cohort/s0.svs", *(place / "broken" / name for name in whole)]:
        assert {planted.NAME, planted.NUMBER, planted.TEXT} <= set(planted.leaks(planted.all_of(path))), path
    for path in (place / "volumes").glob("*.nii*"):
        assert set(planted.TOKENS) == set(planted.leaks(planted.all_of(path)))
    for path in (place / "volumes/ct/0.dcm", place / "broken/dicom.dcm"):
        assert {planted.NAME, planted.NUMBER, "19500131"} <= set(planted.leaks(planted.all_of(path)))
    with openslide.OpenSlide(place / "cohort/s0.svs") as slide:
        assert {"label", "macro", "thumbnail"} <= set(slide.associated_images)
        assert planted.PERSON in slide.properties["aperio.Patient"]


@pytest.mark.usefixtures("in_this_process")
def test_phi_names_kinds_for_each_of_them(place: Path, cli: Callable[..., Any]) -> None:
    good = [place / f"broken/{name}" for name in ("latin.svs", "ome.tiff", "picture.png", "photo.jpg")]
    good += [place / f"volumes/{name}" for name in ("a.nii", "b.nii.gz", "ct")]
    ended = cli("info", *good, "--phi", "--slide-mpp", "0.5", "--json")
    found = {fact["slide_id"]: set(fact["identifying"]) for fact in json.loads(ended.out)["inputs"]}
    assert {"label image", "macro image", "dates", "names of staff", "patient or case"} <= found["latin"]
    assert {"free text", "dates", "names of staff"} <= found["ome"]
    assert {"free text", "dates"} <= found["photo"] & found["picture"]
    assert {"free text", "dates"} <= found["a"] & found["b"]
    assert {"patient name", "patient id", "dates", "private fields"} <= found["ct"]
    assert len(found) == len(good)


def real_texts(path: Path) -> Iterator[str]:
    """What the header of a real slide holds, but for numbers and what OpenSlide makes of them."""
    with openslide.OpenSlide(path) as slide:
        for key, value in slide.properties.items():
            plain = value.replace(".", "").replace("-", "").isdigit()
            if len(value) >= 8 and not plain and not key.startswith(("openslide.level", "openslide.vendor")):
                yield value


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "test3-DAPI-2-(387).ndpi", "boxes_0.dcm"])
def test_no_text_of_a_real_header_is_shown_or_stored(
    cli: Callable[..., Any], real: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    path = real(f"wsi/{name}")
    shown = [cli("info", path, "--phi", "--json"), cli("info", path, "--phi")]
    shown.append(cli("run", path, "-o", tmp_path / "run", "--encoder", "null", "--json", "--readers", 0))
    written = [file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()]
    everything = b"\n".join([*written, *((ended.out + ended.err).encode() for ended in shown)])
    texts = list(real_texts(path))
    assert len(texts) >= 3
    for text in texts:
        assert text.encode() not in everything, text


def test_leaks_are_found_in_every_form() -> None:
    for token in planted.TOKENS:
        for before in range(4):
            text = "x" * before + token + " and so on"
            for data in (
                text.encode(),
                text.upper().encode("utf-16-le"),
                b"\0" + text.encode("utf-16-be"),
                base64.b64encode(text.encode()),
            ):
                assert token in planted.leaks(data)
    assert planted.leaks(np.random.default_rng(0).bytes(1 << 20)) == []
