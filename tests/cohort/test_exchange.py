"""Embeddings go to other tools and come back; what a file does not say stays unknown and never mixes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slidestream.cohort.exchange import export_run, import_folder
from slidestream.errors import ContractMismatch, UsageError
from slidestream.features.card import EncoderCard
from slidestream.features.layout import list_stores, store_path
from slidestream.features.store import Store, open_store
from slidestream.features.verify import verify_store
from slidestream.features.writer import StoreWriter
from slidestream.mil.bags import bag_from_store
from slidestream.mil.contract import EmbeddingContract, require_equal
from slidestream.mil.ensemble import Answer
from slidestream.mil.outcomes import Outcome
from slidestream.mil.predict import Prediction
from slidestream.mil.target import Target
from slidestream.report.heatmap import HeatmapStyle, heatmap_page
from slidestream.report.page import compose

N, DIM, MPP, SPACING = 12, 6, (0.2528, 0.2531), 1.0
VALUES = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
COORDS = (np.stack([np.arange(N) % 4, np.arange(N) // 4], 1) * 886 + [13, 7]).astype(np.int32)
STATUS = np.array([1 if i == 5 else 0 for i in range(N)], np.uint8)
GOOD = STATUS == 0
CARD = EncoderCard("uni", "hf:MahmoodLab/UNI", "abc", "f" * 64, "CC", True, DIM, 224)
FORMS = ["trident", "clam", "stamp", "anndata"]
ATTRIBUTES = {
    "schema": 1,
    "source": {
        "kind": "slide",
        "identity": "content",
        "size": [4000, 3000],
        "spacing": list(MPP),
    },
    "patch": {"size_px": 224, "spacing": SPACING, "overlap": 0.0},
    "extent": [224 / MPP[0], 224 / MPP[1]],
    "encoder": CARD.to_dict(),
    "precision": "fp32",
    "stain": None,
}


def write(run: Path, slide_id: str = "a b/ö") -> Store:
    place = store_path(run, slide_id)
    fixed = {
        "coords": COORDS,
        "tissue": np.ones(N, np.float16),
        "thumbnail": np.full((30, 40, 3), 200, np.uint8),
        "mask": np.ones((30, 40), np.uint8),
    }
    with StoreWriter(place, fixed, DIM) as writer:
        writer.append(STATUS, VALUES[GOOD])
        writer.commit(ATTRIBUTES | {"slide_id": slide_id})
    return open_store(place)


def exported(tmp_path: Path, form: str) -> Path:
    write(tmp_path / "run")
    (outcome,) = export_run(tmp_path / "run", form, tmp_path / form)
    assert (outcome.code, outcome.patches) == ("", N - 1)
    return tmp_path / form


def imported(folder: Path, run: Path, **said: Any) -> Store:
    (outcome,) = import_folder(folder, run, **said)
    assert outcome.code == "", outcome
    (path,) = list_stores(run)
    assert verify_store(path) == []
    return open_store(path)


@pytest.mark.parametrize("form", FORMS)
def test_our_own_export_comes_back_as_it_was(tmp_path: Path, form: str) -> None:
    original = write(tmp_path / "run")
    store = imported(exported(tmp_path, form), tmp_path / "back")
    assert store.slide_id == original.slide_id
    np.testing.assert_array_equal(store.features(), VALUES[GOOD])
    np.testing.assert_array_equal(store.coords(), COORDS[GOOD])
    known = EmbeddingContract.from_attributes(original.attributes)
    require_equal(known, EmbeddingContract.from_attributes(store.attributes), "the import")
    assert store.attributes["imported"]["unknown"] == ["patches left out", "thumbnail"]
    assert store.attributes["source"] == original.attributes["source"]


def test_the_files_of_trident_and_clam(tmp_path: Path) -> None:
    (trident,) = exported(tmp_path, "trident").iterdir()
    assert trident.name == "a b%2F%C3%B6.h5"
    with h5py.File(trident) as file:
        np.testing.assert_array_equal(file["features"], VALUES[GOOD])
        np.testing.assert_array_equal(file["coords"], COORDS[GOOD])
        assert file["coords"].dtype == np.int64
        said = dict(file["coords"].attrs)
    assert said["patch_size"] == 224
    assert said["patch_size_level0"] == 886
    assert said["level0_magnification"] == pytest.approx(10 / MPP[0])
    assert said["target_magnification"] == pytest.approx(10.0)
    assert (said["overlap"], said["level0_width"], said["level0_height"]) == (0, 4000, 3000)
    clam = exported(tmp_path / "other", "clam")
    tensor = torch.load(clam / "pt_files/a b%2F%C3%B6.pt", weights_only=True)
    np.testing.assert_array_equal(tensor, VALUES[GOOD])
    with h5py.File(clam / "h5_files/a b%2F%C3%B6.h5") as file:
        np.testing.assert_array_equal(file["features"], VALUES[GOOD])
        np.testing.assert_array_equal(file["coords"], COORDS[GOOD])


def test_stamp_has_microns_along_each_axis(tmp_path: Path) -> None:
    (path,) = exported(tmp_path, "stamp").iterdir()
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["coords"], COORDS[GOOD] * np.array(MPP), rtol=1e-12)
        np.testing.assert_array_equal(file["feats"], VALUES[GOOD])
        said = {
            key: file.attrs[key] for key in ("unit", "tile_size_um", "tile_size_px", "extractor", "feat_type")
        }
    assert said == {
        "unit": "um",
        "tile_size_um": 224.0,
        "tile_size_px": 224,
        "extractor": "uni",
        "feat_type": "tile",
    }


def test_anndata_itself_reads_what_is_written_and_its_own_files_are_read(tmp_path: Path) -> None:
    (path,) = exported(tmp_path, "anndata").iterdir()
    found = anndata.read_h5ad(path)
    np.testing.assert_array_equal(found.X, VALUES[GOOD])
    np.testing.assert_array_equal(found.obsm["spatial"], COORDS[GOOD])
    assert found.shape == (N - 1, DIM)
    assert found.obs_names[0] == "a b/ö-0"
    assert found.uns["encoder"] == "uni"
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with anndata.settings.override(allow_write_nullable_strings=True):
        anndata.AnnData(VALUES, obsm={"spatial": COORDS}).write_h5ad(theirs / "s.h5ad")
    store = imported(theirs, tmp_path / "back")
    np.testing.assert_array_equal(store.features(), VALUES)
    np.testing.assert_array_equal(store.coords(), COORDS)
    assert store.attributes["extent"] == [886.0, 886.0], "the step of the grid"
    assert {"extent", "encoder", "source.spacing"} <= set(store.attributes["imported"]["unknown"])


Write = Callable[[h5py.File], None]


def theirs(folder: Path, write_file: Write, name: str = "s.h5") -> Path:
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / name, "w") as file:
        write_file(file)
    return folder


def as_trident(file: h5py.File, values: NDArray[Any] = VALUES) -> None:
    file["features"], file["coords"] = values[None], COORDS.astype(np.int64)
    file["coords"].attrs.update(patch_size=256, patch_size_level0=1012, level0_magnification=40)
    file["coords"].attrs.update(target_magnification=10, level0_width=5000, level0_height=4000)


def as_stamp(file: h5py.File) -> None:
    file["feats"], file["coords"] = VALUES.astype(np.float16), COORDS * 0.5
    file.attrs.update(
        unit="um", tile_size_um=256.0, tile_size_px=224, extractor="uni2", stamp_version="2.3.0"
    )


def test_a_file_of_trident(tmp_path: Path) -> None:
    """A row of features per patch behind an axis of one; µm only where the user gives the slides' mpp."""
    folder = theirs(tmp_path / "t", as_trident)
    store = imported(folder, tmp_path / "a")
    np.testing.assert_array_equal(store.features(), VALUES)
    np.testing.assert_array_equal(store.coords(), COORDS)
    facts = store.attributes
    assert facts["source"]["size"] == [5000, 4000]
    assert (facts["patch"], facts["extent"]) == ({"size_px": 256, "spacing": 0.0}, [1012.0, 1012.0])
    assert {"source.spacing", "patch.spacing", "encoder"} <= set(facts["imported"]["unknown"])
    known = imported(folder, tmp_path / "b", slide_mpp=0.25).attributes
    assert known["source"]["spacing"] == [0.25, 0.25]
    assert known["patch"]["spacing"] == pytest.approx(1012 * 0.25 / 256)
    assert "patch.spacing" not in known["imported"]["unknown"]


def test_a_file_of_stamp(tmp_path: Path) -> None:
    folder = theirs(tmp_path / "t", as_stamp)
    store = imported(folder, tmp_path / "a")
    np.testing.assert_array_equal(store.features(), VALUES.astype(np.float16))
    np.testing.assert_array_equal(store.coords(), (COORDS * 0.5).round()), "in µm"
    assert store.attributes["source"]["spacing"] == [1.0, 1.0]
    assert store.attributes["patch"] == {"size_px": 224, "spacing": pytest.approx(256 / 224)}
    assert store.attributes["encoder"]["name"] == "imported:uni2"
    store = imported(folder, tmp_path / "b", slide_mpp=0.5)
    np.testing.assert_array_equal(store.coords(), COORDS)
    assert store.attributes["extent"] == [512.0, 512.0]
    assert store.attributes["patch"]["spacing"] == pytest.approx(256 / 224)


def test_tensors_of_clam_with_the_coordinates_of_its_patches(tmp_path: Path) -> None:
    folder = tmp_path / "clam"
    (folder / "pt_files").mkdir(parents=True)
    torch.save(torch.from_numpy(VALUES), folder / "pt_files/s.pt")
    (outcome,) = import_folder(folder, tmp_path / "none")
    assert outcome.code == "UNSUPPORTED_FORMAT"
    assert "coordinates" in outcome.fix
    theirs(folder / "patches", lambda file: file.update({"coords": COORDS}))
    store = imported(folder, tmp_path / "a")
    np.testing.assert_array_equal(store.features(), VALUES)
    np.testing.assert_array_equal(store.coords(), COORDS)


class Bomb:
    """What unpickling it would do can be seen afterwards."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    folder = theirs(tmp_path / "t", lambda file: file.update({"coords": COORDS}))
    torch.save(Bomb(tmp_path / "gone off"), folder / "s.pt")
    (outcome,) = import_folder(folder, tmp_path / "a")
    assert outcome.code == "UNSUPPORTED_FORMAT"
    assert not (tmp_path / "gone off").exists()


def linked(file: h5py.File) -> None:
    file["coords"], file["features"] = COORDS, h5py.ExternalLink("../secret.h5", "features")


def external(file: h5py.File) -> None:
    file["coords"] = COORDS
    file.create_dataset("features", (N, DIM), "f4", external=[("secret.raw", 0, N * DIM * 4)])


def unwritten(file: h5py.File) -> None:
    file["coords"] = COORDS
    file.create_dataset("features", (10**6, 10**6), "f4", chunks=(1000, 1000))


def whole_slide(file: h5py.File) -> None:
    file["features"], file["coords"] = VALUES[0], COORDS


def other_rows(file: h5py.File) -> None:
    file["features"], file["coords"] = VALUES, COORDS[:-1]


def integers(file: h5py.File) -> None:
    file["features"], file["coords"] = COORDS, COORDS


def far_away(file: h5py.File) -> None:
    file["features"], file["coords"] = VALUES, COORDS + 1e12


def without_unit(file: h5py.File) -> None:
    as_stamp(file)
    del file.attrs["unit"]


@pytest.mark.parametrize(
    "write_file", [linked, external, unwritten, whole_slide, other_rows, integers, far_away, without_unit]
)
def test_what_cannot_be_imported_fails_with_a_code_and_the_others_go_on(
    tmp_path: Path, write_file: Write
) -> None:
    folder = theirs(theirs(tmp_path / "t", as_trident), write_file, "bad.h5")
    (folder / "text.h5").write_text("no HDF5")
    outcomes = {outcome.slide_id: outcome for outcome in import_folder(folder, tmp_path / "a")}
    assert outcomes["s"].code == ""
    assert outcomes["bad"].code in ("UNSUPPORTED_FORMAT", "BAD_GEOMETRY")
    assert outcomes["bad"].fix
    assert outcomes["text"].code == "UNSUPPORTED_FORMAT"
    assert [path.name for path in list_stores(tmp_path / "a")] == ["s.zarr"]


def test_rows_without_a_number_stay_out_of_bags(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[3, 1] = np.nan
    store = imported(theirs(tmp_path / "t", lambda file: as_trident(file, values)), tmp_path / "a")
    assert store.status().tolist() == [int(row == 3) for row in range(N)]
    np.testing.assert_array_equal(bag_from_store(store).features, np.delete(VALUES, 3, axis=0))


def test_a_changed_export_is_no_longer_known(tmp_path: Path) -> None:
    """Somebody else's numbers do not pass for those of the encoder that the file still names."""
    folder = exported(tmp_path, "trident")
    with h5py.File(next(folder.iterdir()), "r+") as file:
        file["features"][2, 3] += 1
    store = imported(folder, tmp_path / "a")
    assert store.attributes["encoder"]["name"] == "imported:unknown"
    assert "encoder.sha256" in store.attributes["imported"]["unknown"]


def contract(store: Store) -> EmbeddingContract:
    return EmbeddingContract.from_attributes(store.attributes)


def test_the_unknown_matches_nothing_but_its_own_label(tmp_path: Path) -> None:
    native = contract(write(tmp_path / "run"))
    folder = theirs(tmp_path / "t", as_trident)
    others = theirs(tmp_path / "u", lambda file: as_trident(file, VALUES + 1), "u.h5")
    first, second = contract(imported(folder, tmp_path / "a")), contract(imported(others, tmp_path / "b"))
    for needed in (native, second):
        with pytest.raises(ContractMismatch, match="imported as"):
            require_equal(needed, first, "the import")
    assert first.stain is not None, "no stain normalisation would be a fact"
    same = [contract(imported(f, tmp_path / name, label="L")) for f, name in ((folder, "c"), (others, "d"))]
    require_equal(same[0], same[1], "the other")


def test_a_folder_takes_one_kind_of_embeddings(tmp_path: Path) -> None:
    run = tmp_path / "a"
    imported(theirs(tmp_path / "t", as_trident), run)
    with pytest.raises(ContractMismatch, match="size_px"):
        list(import_folder(theirs(tmp_path / "u", as_stamp, "u.h5"), run))
    assert len(list_stores(run)) == 1
    write(tmp_path / "run")
    (tmp_path / "run/slidestream.yaml").write_text("schema: 1\nconfig: {}\n")
    for place, label in ((tmp_path / "run", ""), (run, "other")):
        with pytest.raises(UsageError, match=r"computed here|imported as"):
            list(import_folder(tmp_path / "t", place, label))


def test_what_is_there_is_kept_and_what_is_damaged_is_imported_again(tmp_path: Path) -> None:
    folder, run = theirs(tmp_path / "t", as_trident), tmp_path / "a"
    chunk = imported(folder, run).path / "features/c/0/0"
    before = chunk.stat().st_mtime_ns
    assert [outcome.status for outcome in import_folder(folder, run)] == ["up_to_date"]
    assert chunk.stat().st_mtime_ns == before
    chunk.unlink()
    assert [outcome.status for outcome in import_folder(folder, run)] == ["done"]
    assert verify_store(list_stores(run)[0]) == []


def test_a_heatmap_without_microns_has_no_scale_bar(tmp_path: Path) -> None:
    store = imported(theirs(tmp_path / "t", as_trident), tmp_path / "a")
    answer = Answer(Outcome(Target(), ("a", "b")), np.array([[0.2, 0.8]]))
    prediction = Prediction(
        slide="s", answers=(answer,), folds=(0,), attention=np.linspace(0, 1, N, dtype=np.float32)
    )
    page = heatmap_page(store, prediction, HeatmapStyle())
    assert page.um_per_px == 0
    assert (page.picture != 255).any(), "patches are coloured where they lie"
    bare, barred = (np.asarray(compose(replace(page, um_per_px=um))) for um in (0.0, 1.0))
    assert bare.shape == barred.shape
    assert (bare != barred).any()


def test_the_commands(tmp_path: Path, cli: Callable[..., Any]) -> None:
    write(tmp_path / "run")
    (tmp_path / "run/slidestream.yaml").write_text("schema: 1\nconfig: {}\n")
    assert cli("export", tmp_path / "run", "--format", "stamp", "-o", tmp_path / "out").code == 0
    ended = cli("import", tmp_path / "out", "-o", tmp_path / "back", "--json")
    assert json.loads(ended.out)["counts"] == {"done": 1}
    status = json.loads(cli("status", tmp_path / "back", "--json").out)
    assert [(row["slide_id"], row["status"]) for row in status["inputs"]] == [("a b/ö", "done")]
    assert cli("verify", tmp_path / "back").code == 0
    assert cli("run", tmp_path / "out", "-o", tmp_path / "back").code == 2
    assert cli("export", tmp_path / "run", "--format", "csv", "-o", tmp_path / "x").code == 2
    assert cli("import", tmp_path / "none", "-o", tmp_path / "x").code == 2
    (tmp_path / "out/bad.h5").write_text("")
    ended = cli("import", tmp_path / "out", "-o", tmp_path / "back")
    assert ended.code == 3
    assert "UNSUPPORTED_FORMAT" in ended.out
