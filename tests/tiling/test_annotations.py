"""GeoJSON as QuPath writes it: read, written, and a person's word against the algorithm's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slidestream.errors import BadAnnotation
from slidestream.tiling.annotations import (
    Annotation,
    Canvas,
    corrected,
    read_annotations,
    replaces,
    tissue_annotations,
    write_annotations,
)

SQUARE = [[100, 100], [300, 100], [300, 300], [100, 300], [100, 100]]
HOLE = [[150, 150], [250, 150], [250, 250], [150, 250], [150, 150]]
CANVAS = Canvas((40, 40), (400, 400))


def feature(name: str | None, coordinates: Any, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    """As QuPath 0.5 exports an annotation."""
    if name is not None:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    return {
        "type": "Feature",
        "id": "6f2d1c1e-6f0e-4c06-9d1c-0d6f2b8f8a55",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation"} | properties,
    }


def written(path: Path, *features: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def test_a_file_of_qupath_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.geojson",
        feature("Tumor", [SQUARE, HOLE]),
        feature(None, [[SQUARE], [HOLE]], "MultiPolygon"),
        feature("Point", [1, 2], "Point"),
        feature("Cell", [SQUARE], objectType="detection"),
    )
    first, second = read_annotations(path)
    assert (first.name, second.name) == ("Tumor", "")
    assert [len(p) for p in first.polygons] == [2]
    assert [len(p) for p in second.polygons] == [1, 1]
    filled = CANVAS.fill([first], {"Tumor"})
    expected = np.zeros((40, 40), bool)
    expected[10:30, 10:30] = True
    expected[15:25, 15:25] = False
    np.testing.assert_array_equal(filled, expected)


def test_derived_classes_lists_and_single_features(tmp_path: Path) -> None:
    derived = feature(None, [SQUARE], classification={"names": ["Tumor", "Positive"], "color": [1, 2, 3]})
    (tmp_path / "list.json").write_text(json.dumps([derived]))
    (tmp_path / "one.json").write_text("\ufeff" + json.dumps(derived))
    for name in ("list.json", "one.json"):
        (found,) = read_annotations(tmp_path / name)
        assert found.name == "Tumor: Positive"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"type": "FeatureCollection"}',
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null}]}',
        json.dumps([feature("Tumor", [[[1, 2], [3, 4], [1, 2]]])]),
        json.dumps([feature("Tumor", [[[1, 2], [3, 4], [None, 6], [1, 2]]])]),
        json.dumps([feature("Tumor", [[[1, 2], [3, 4], [float("nan"), 6], [1, 2]]])]),
        json.dumps([feature("Tumor", "abc")]),
        json.dumps([feature("Point", [1, 2], "Point")]),
        "[" * 100_000,
    ],
)
def test_what_is_no_region_is_refused_with_a_code(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(BadAnnotation, match=r"a\.geojson"):
        read_annotations(tmp_path / "a.geojson")
    with pytest.raises(BadAnnotation):
        read_annotations(tmp_path / "absent.geojson")


def test_a_mask_survives_the_way_through_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((37, 53)) > 0.6
    covers = (5312, 3701)  # not a whole number of level-0 px per mask px
    write_annotations(tmp_path / "a.geojson", tissue_annotations(mask, covers))
    back = read_annotations(tmp_path / "a.geojson")
    assert {annotation.name for annotation in back} == {"Tissue"}
    np.testing.assert_array_equal(Canvas(mask.shape, covers).fill(back, {"Tissue"}), mask)


def test_rings_are_closed_and_holes_follow_their_outline(tmp_path: Path) -> None:
    mask = np.zeros((10, 10), bool)
    mask[1:9, 1:9] = True
    mask[4:6, 4:6] = False
    write_annotations(tmp_path / "a.geojson", tissue_annotations(mask, (100, 100)))
    (only,) = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert only["properties"]["classification"]["name"] == "Tissue"
    outer, inner = only["geometry"]["coordinates"]
    assert outer[0] == outer[-1]
    assert np.min(outer, axis=0).tolist() == [10, 10]
    assert np.max(inner, axis=0).tolist() == [60, 60]


def region(name: str, x: int, y: int, side: int = 10) -> Annotation:
    corners = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], float) * 10
    return Annotation(name, [[corners]])


def box(x: int, y: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_a_person_wins_over_the_algorithm() -> None:
    found = box(0, 0, 20)
    assert not replaces([region("Tumor", 0, 0)])
    assert replaces([region("Tissue", 0, 0)])
    tissue = [region("Tissue", 15, 15)]
    np.testing.assert_array_equal(corrected(None, tissue, CANVAS), box(15, 15))
    limited = corrected(found, [region("Tumor", 15, 15), region("", 0, 0, 5)], CANVAS)
    np.testing.assert_array_equal(limited, box(15, 15, 5) | box(0, 0, 5))
    ignored = corrected(found, [region("Ignore*", 5, 5)], CANVAS)
    np.testing.assert_array_equal(ignored, found & ~box(5, 5))
    both = corrected(None, [*tissue, region("Ignore*", 20, 20, 3), region("Tumor", 15, 15, 8)], CANVAS)
    np.testing.assert_array_equal(both, box(15, 15, 8) & ~box(20, 20, 3))
