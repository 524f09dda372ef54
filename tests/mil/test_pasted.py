"""The recipe of `benchmarks/mil_pasted.py`, small: real patches, the whole pipeline, known places."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slidestream.mil.explain import method_names
from slidestream.mil.spec import TrainSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pasted() -> Any:
    name = "mil_pasted_benchmark"
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks/mil_pasted.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_no_picture_is_on_two_patients_and_tumour_is_where_it_is_said(
    pasted: Any, real: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = real("patches/LC25000_lung_224")
    used: dict[str, set[Path]] = {}
    opened, write = pasted.Image.open, pasted._write

    def watch(path: Path) -> Any:
        next(reversed(used.values())).add(path)
        return opened(path)

    def begin(path: Path, *rest: Any) -> None:
        used[path.stem] = set()
        write(path, *rest)

    monkeypatch.setattr(pasted.Image, "open", watch)
    monkeypatch.setattr(pasted, "_write", begin)
    truth = pasted.paste(data, tmp_path, pasted.Recipe(patients=4, columns=5, rows=4))
    group = {
        path: (kind, number)
        for kind in (pasted.TUMOUR, pasted.NORMAL)
        for number, paths in enumerate(pasted.groups_of(data, kind))
        for path in paths
    }
    owner: dict[tuple[str, int], str] = {}
    for slide, paths in used.items():
        assert all(owner.setdefault(group[path], slide[:3]) == slide[:3] for path in paths)
        assert {group[path][0] for path in paths} == (
            {pasted.TUMOUR, pasted.NORMAL} if slide.endswith("tumour") else {pasted.NORMAL}
        )
    assert set(owner.values()) == {"p00", "p01", "p02", "p03"}
    for slide, places in truth.items():
        share = places.mean()
        assert 0.05 <= share <= 0.4 if slide.endswith("tumour") else share == 0


def test_the_head_finds_slides_and_places_it_was_never_told(
    pasted: Any, real: Callable[[str], Path], tmp_path: Path
) -> None:
    """Sixteen slides of 20 patches; the full experiment has 80 of 40. A head that mixed up rows, or a
    faithfulness that did not depend on them, would be at 0.5, and at 0."""
    data, recipe = real("patches/LC25000_lung_224"), pasted.Recipe(patients=8, columns=5, rows=4)
    found = pasted.experiment(data, tmp_path, recipe, TrainSpec(folds=4, epochs=40, bootstrap=1))
    assert found["slides"] == 16
    assert found["slide AUROC"]["value"] > 0.9
    random = found["methods"].pop("random")
    assert abs(random["auroc"] - 0.5) < 0.2
    assert set(found["methods"]) == set(method_names())
    for name, row in found["methods"].items():
        # Where several patches say the same, little is lost with one of them.
        assert row["auroc"] > (0.7 if name == "perturbation" else 0.9), (name, row)
        assert row["faithfulness"] > max(0.1, random["faithfulness"] + 0.1), (name, row)
    assert np.isfinite(random["faithfulness"])
