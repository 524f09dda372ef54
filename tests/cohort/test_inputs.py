"""What counts as an input, and what it is called."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slidestream.cohort.inputs import find_inputs
from slidestream.errors import UsageError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"II*\0")
    return root


def ids(*arguments: Path, slide_mpp: float | None = None) -> list[str]:
    return [item.slide_id for item in find_inputs(arguments, slide_mpp).inputs]


def test_stems_where_unique_else_the_relative_path(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "a.ndpi", "sub/b.tiff", "x/c.svs", "y/c.svs")
    assert ids(tmp_path) == ["a.ndpi", "a.svs", "b", "x/c.svs", "y/c.svs"]


def test_other_files_are_ignored_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "readme.txt", "thumb.png", ".hidden.svs", ".git/x.svs")
    found = find_inputs([tmp_path])
    assert [item.slide_id for item in found.inputs] == ["a"]
    assert sorted(path.name for path in found.ignored) == ["readme.txt", "thumb.png"]


def test_pictures_need_the_users_mpp(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "p.png")
    assert ids(tmp_path, slide_mpp=0.5) == ["a", "p"]
    assert {item.mpp for item in find_inputs([tmp_path], 0.5).inputs} == {0.5}
    assert ids(tmp_path / "p.png") == ["p"]


def test_a_loop_of_links_ends_and_a_file_linked_twice_is_taken_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "sub/b.svs")
    (tmp_path / "sub/loop").symlink_to(tmp_path)
    (tmp_path / "sub/again.svs").symlink_to(tmp_path / "a.svs")
    assert ids(tmp_path) == ["a", "b"]


def test_names_that_are_not_utf8_are_still_names(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.svs")).write_bytes(b"II*\0")
    (found,) = find_inputs([tmp_path]).inputs
    assert found.slide_id == "caf\\xe9"
    assert Path(found.path).exists()


def test_a_manifest_sets_ids_and_mpp(tmp_path: Path) -> None:
    touch(tmp_path, "s/a.svs", "s/b.svs")
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,slide_id,mpp,patient\ns/a.svs,one,0.25,p1\ns/b.svs,,,p2\n")
    found = find_inputs([manifest], slide_mpp=0.5).inputs
    assert [(item.slide_id, item.mpp) for item in found] == [("b", 0.5), ("one", 0.25)]
    assert all(Path(item.path).exists() for item in found)


def test_a_manifest_names_folders_of_slides_and_of_volumes(
    real: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "s").mkdir()
    for name in ("boxes_0.dcm", "boxes_1.dcm"):
        shutil.copy(real(f"wsi/{name}"), tmp_path / "s" / name)
    (tmp_path / "v").mkdir()
    for path in list(real("radiology/dcm_qa_ct").rglob("I*0"))[:2]:
        shutil.copy(path, tmp_path / "v" / path.name)
    (tmp_path / "m.csv").write_text("path\ns\nv\n")
    assert [(item.slide_id, item.kind) for item in find_inputs([tmp_path / "m.csv"]).inputs] == [
        ("s", "slide"),
        ("v", "volume"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.svs\n", "no column 'path'"),
        ("path,mpp\na.svs,fast\n", "line 2: mpp 'fast' is not a number"),
        ("path\n\na.svs\n,\n", "line"),
        ("path,slide_id\na.svs,x\nb.svs,x\n", "would be called x"),
    ],
)
def test_a_bad_manifest_is_refused_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.svs", "b.svs")
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        find_inputs([tmp_path / "m.csv"])


def test_nothing_found_and_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No slide or volume"):
        find_inputs([tmp_path])
    with pytest.raises(UsageError, match="There is no"):
        find_inputs([tmp_path / "none"])


def test_dicom_series_are_one_input_each(real: Callable[[str], Path]) -> None:
    found = find_inputs([real("wsi"), real("radiology/dcm_qa_ct")])
    by_id = {item.slide_id: item for item in found.inputs}
    assert {"boxes_0", "raw", "jpeg", "jpeg2000"} <= set(by_id)
    assert "boxes_1" not in by_id, "a thumbnail instance of the same series is no slide"
    assert by_id["S2010"].kind == "volume"
    assert len([item for item in found.inputs if item.kind == "volume"]) == 1


def test_a_link_out_of_the_folder_is_followed_and_named_after_where_it_lies(tmp_path: Path) -> None:
    """Cohorts are often folders of links into an archive."""
    touch(tmp_path, "archive/2024/x.svs", "archive/more/y.svs", "cohort/z.svs")
    (tmp_path / "cohort/case1.svs").symlink_to(tmp_path / "archive/2024/x.svs")
    (tmp_path / "cohort/more").symlink_to(tmp_path / "archive/more")
    found = find_inputs([tmp_path / "cohort"]).inputs
    assert [(item.slide_id, item.path) for item in found] == [
        ("case1", str(tmp_path / "cohort/case1.svs")),
        ("y", str(tmp_path / "cohort/more/y.svs")),
        ("z", str(tmp_path / "cohort/z.svs")),
    ]


def test_links_to_nowhere_and_to_themselves_are_inputs_that_are_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs")
    (tmp_path / "gone.svs").symlink_to(tmp_path / "nothing.svs")
    (tmp_path / "self.svs").symlink_to(tmp_path / "self.svs")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert ids(tmp_path) == ["a", "gone", "self"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    """Opening one waits for a writer, for ever."""
    touch(tmp_path, "a.svs")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.svs")
    assert ids(tmp_path) == ["a"]


def test_inputs_called_the_same_everywhere_get_more_of_their_path(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.svs", "two/a.svs", "x/one/a.svs")
    assert ids(tmp_path / "one", tmp_path / "two") == ["one/a.svs", "two/a.svs"]
    whole = [(tmp_path / place / "a.svs").as_posix() for place in ("one", "x/one")]
    assert ids(tmp_path / "one", tmp_path / "x/one") == whole


def test_a_name_is_not_taken_by_the_path_of_another(tmp_path: Path) -> None:
    touch(tmp_path, "s/a.svs", "s/a.ndpi", "s/a.svs.tiff")
    found = {item.slide_id: Path(item.path).name for item in find_inputs([tmp_path / "s"]).inputs}
    assert found == {"a.ndpi": "a.ndpi", "s/a.svs": "a.svs", "a.svs.tiff": "a.svs.tiff"}


def test_manifest_paths_may_lead_anywhere(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.svs", "data/sub/a.svs", "far/b.svs", "data/ spaced .svs", "lists/=1.svs")
    manifest = tmp_path / "lists/m.csv"
    lines = [
        "path,slide_id",
        "../data/a.svs,",
        "../data/sub/../sub/a.svs,",
        f"{tmp_path}/far/b.svs,../../b",
        "../data/ spaced .svs,",
        "'=1.svs,",
        "'=2.svs,'=2",
    ]
    manifest.write_text("\n".join(lines))
    around = ["../../b", "../data/a.svs", "../data/sub/../sub/a.svs"]
    assert ids(manifest) == [" spaced ", *around, "=1", "=2"]


def test_one_file_by_two_names_of_a_manifest_is_two_inputs(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs")
    (tmp_path / "m.csv").write_text("path,slide_id,mpp\na.svs,fine,0.25\na.svs,coarse,0.5\na.svs,zero,0\n")
    found = find_inputs([tmp_path / "m.csv"], slide_mpp=1.0).inputs
    assert [(item.slide_id, item.mpp) for item in found] == [("coarse", 0.5), ("fine", 0.25), ("zero", 0.0)]


@pytest.mark.parametrize("data", [b"path\ncaf\xe9.svs\n", b'path\n"a.svs\n', b"path\na\0.svs\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, data: bytes) -> None:
    touch(tmp_path, "a.svs")
    (tmp_path / "m.csv").write_bytes(data)
    with pytest.raises(UsageError, match=r"m\.csv"):
        find_inputs([tmp_path / "m.csv"])


def test_a_folder_may_be_called_like_a_manifest(tmp_path: Path) -> None:
    touch(tmp_path, "cohort.csv/a.svs")
    assert ids(tmp_path / "cohort.csv") == ["a"]
