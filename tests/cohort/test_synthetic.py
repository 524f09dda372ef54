"""The synthetic cohort: its plans are the truth, its files must show it."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image
from scipy import ndimage
from scipy.stats import ks_2samp

from slidestream.cohort.synthetic import Cohort, synthesise
from slidestream.cohort.synthetic_layers import FINE
from slidestream.cohort.synthetic_paint import Painter
from slidestream.cohort.synthetic_plan import SlidePlan, plan_healthy, plan_slide, plant_tumour
from slidestream.cohort.synthetic_spec import CohortSpec, cohort_rows
from slidestream.cohort.synthetic_stain import SCANNERS
from slidestream.errors import UsageError

SMALL = CohortSpec(slides=4, side_px=1500)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return synthesise(tmp_path_factory.mktemp("cohort"), SMALL, workers=1)


@pytest.fixture(scope="module")
def plans() -> list[SlidePlan]:
    spec = CohortSpec(slides=16, side_px=4000, seed=5)
    return [plan_slide(spec, index) for index in range(spec.slides)]


def graded(plans: list[SlidePlan], label: str) -> list[SlidePlan]:
    return [plan for plan in plans if plan.row.label == label]


def per_px(plans: list[SlidePlan], inside: bool) -> float:
    """Nuclei per px of the tissue's raster, over all plans, in or out of the focus."""
    count = sum((plan.in_focus(plan.nuclei) == inside).sum() for plan in plans)
    area = sum((plan.tissue & (plan.focus == inside)).sum() for plan in plans)
    return float(count / area)


def diameters(plans: list[SlidePlan], inside: bool) -> np.ndarray:
    return np.concatenate([plan.nuclei["diameter"][plan.in_focus(plan.nuclei) == inside] for plan in plans])


def files(cohort: Cohort) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(cohort.folder.rglob("*")) if p.is_file()}


# who is who


def test_grades_scanners_and_patients_are_balanced():
    rows = cohort_rows(CohortSpec(slides=24))
    assert set(Counter((row.label, row.scanner) for row in rows).values()) == {6}
    grades, slides = defaultdict(set), Counter(row.patient for row in rows)
    for row in rows:
        grades[row.patient].add(row.label)
    assert len(slides) == 18
    assert sorted(set(slides.values())) == [1, 2]
    assert all(len(labels) == 1 for labels in grades.values())
    assert len({row.slide for row in rows}) == 24


@pytest.mark.parametrize("wrong", [{"slides": 0}, {"side_px": 1000}, {"seed": -1}])
def test_a_spec_that_cannot_be_drawn_is_refused(wrong: dict[str, int]):
    with pytest.raises(UsageError):
        CohortSpec(**wrong)


# the plans


def test_only_in_the_focus_of_high_grade_slides_nuclei_are_larger_denser_and_uneven(plans: list[SlidePlan]):
    high = graded(plans, "high")
    inside, outside = diameters(high, True), diameters(high, False)
    assert np.median(inside) / np.median(outside) == pytest.approx(1.75, abs=0.15)
    assert np.log(inside).std() > 1.8 * np.log(outside).std()
    assert per_px(high, True) / per_px(high, False) == pytest.approx(2.4, abs=0.5)


def test_the_focus_of_low_grade_slides_is_like_the_rest(plans: list[SlidePlan]):
    low = graded(plans, "low")
    inside, outside = diameters(low, True), diameters(low, False)
    assert np.median(inside) == pytest.approx(np.median(outside), rel=0.05)
    assert per_px(low, True) == pytest.approx(per_px(low, False), rel=0.35)


def test_outside_the_focus_the_grades_agree(plans: list[SlidePlan]):
    low, high = (graded(plans, label) for label in ("low", "high"))
    assert ks_2samp(diameters(low, False), diameters(high, False)).statistic < 0.08
    of_low, of_high = ([per_px([plan], False) for plan in some] for some in (low, high))
    assert ks_2samp(of_low, of_high).pvalue > 0.01


def test_planting_a_tumour_changes_nothing_outside_the_focus():
    healthy = plan_healthy(SMALL, 1)
    planted = plant_tumour(healthy)
    np.testing.assert_array_equal(
        planted.nuclei[~planted.in_focus(planted.nuclei)], healthy.nuclei[~healthy.in_focus(healthy.nuclei)]
    )
    assert len(planted.nuclei) > len(healthy.nuclei)
    near = ndimage.binary_dilation(healthy.focus, iterations=2)
    away = np.repeat(np.repeat(~near, FINE, axis=0), FINE, axis=1)
    for name in ("eosin", "haematoxylin", "fibre"):
        np.testing.assert_array_equal(
            getattr(planted.layers, name)[away], getattr(healthy.layers, name)[away]
        )


def test_size_of_tissue_and_focus_says_nothing_of_the_grade(plans: list[SlidePlan]):
    for plan in plans:
        assert 0.25 < plan.tissue.mean() < 0.46
        assert 0.10 < plan.focus.sum() / plan.tissue.sum() < 0.20
        assert not (plan.focus & ~plan.tissue).any()
        assert plan.mask_spacing == pytest.approx(8, rel=0.01)
    tissue = [[plan.tissue.mean() for plan in graded(plans, label)] for label in ("low", "high")]
    assert ks_2samp(*tissue).pvalue > 0.01


def test_nuclei_are_microns_not_pixels(plans: list[SlidePlan]):
    size = {
        scanner: np.median(diameters([plan for plan in plans if plan.row.scanner == scanner], False))
        for scanner in SCANNERS
    }
    assert size["A"] == pytest.approx(size["B"], rel=0.02)
    assert size["A"] == pytest.approx(6, abs=0.5)


def test_every_slide_is_stained_differently_and_scanners_more_so(plans: list[SlidePlan]):
    assert len({plan.stain for plan in plans}) == len(plans)
    blue = {s: np.mean([p.stain.eosin[2] for p in plans if p.row.scanner == s]) for s in SCANNERS}
    assert blue["B"] > 1.2 * blue["A"]


# the files


def test_openslide_reads_size_mpp_and_levels(cohort: Cohort):
    for row in cohort.rows:
        with openslide.OpenSlide(cohort.slide(row)) as slide:
            assert slide.properties["openslide.vendor"] == "generic-tiff"
            assert slide.dimensions == (1500, 1500)
            assert slide.level_dimensions == ((1500, 1500), (750, 750), (375, 375))
            for axis in "xy":
                mpp = float(slide.properties[f"openslide.mpp-{axis}"])
                assert mpp == pytest.approx(SCANNERS[row.scanner].mpp, rel=1e-6)


@pytest.mark.parametrize("index", [0, 3])
def test_decoded_pixels_are_the_painted_ones(cohort: Cohort, index: int):
    painter = Painter(plan_slide(SMALL, index))
    glass = painter.glass()
    rows = [np.hstack([glass if block is None else block for block in row]) for row in painter.rows()]
    painted = np.vstack(rows)[:1500, :1500].astype(int)
    with openslide.OpenSlide(cohort.slide(cohort.rows[index])) as slide:
        for level, factor in enumerate((1, 2, 4)):
            decoded = slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB")
            side = 1500 // factor
            blocks = painted[: side * factor, : side * factor].reshape(side, factor, side, factor, 3)
            assert np.abs(np.asarray(decoded) - blocks.mean(axis=(1, 3))).mean() < 3


def test_tissue_is_coloured_and_glass_is_white(cohort: Cohort):
    plan = plan_slide(SMALL, 1)
    with openslide.OpenSlide(cohort.slide(plan.row)) as slide:
        pixels = np.asarray(slide.read_region((0, 0), 2, (375, 375)).convert("RGB").resize(plan.focus.shape))
    red, green, blue = pixels[plan.tissue].mean(axis=0)
    assert green < min(red, blue)
    assert pixels[~plan.tissue].mean() > 230
    assert pixels[plan.focus].mean() < pixels[plan.tissue & ~plan.focus].mean()


def test_masks_and_tables_match_the_plans(cohort: Cohort):
    with open(cohort.labels, newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["slide"] for row in table] == [row.slide for row in cohort.rows]
    assert list(table[0]) == ["slide", "patient", "label", "scanner"]
    for index, row in enumerate(cohort.rows):
        mask = np.asarray(Image.open(cohort.mask(row)))
        np.testing.assert_array_equal(mask == 255, plan_slide(SMALL, index).focus)
        assert set(np.unique(mask)) == {0, 255}
    record = json.loads((cohort.folder / "cohort.json").read_text())
    assert CohortSpec.from_dict(record["spec"]) == SMALL


# runs


def test_the_number_of_workers_changes_no_byte(cohort: Cohort, tmp_path: Path):
    seen: list[tuple[int, int]] = []
    again = synthesise(tmp_path, SMALL, lambda done, total: seen.append((done, total)), workers=2)
    assert files(again) == files(cohort)
    assert seen == [(done, 4) for done in range(5)]


def test_an_interrupted_cohort_resumes_and_keeps_what_is_whole(cohort: Cohort):
    before = files(cohort)
    lost, unmasked, kept = (
        cohort.slide(cohort.rows[0]),
        cohort.mask(cohort.rows[2]),
        cohort.slide(cohort.rows[1]),
    )
    lost.with_name(f".{lost.name}.partial").write_bytes(lost.read_bytes()[:1000])
    lost.unlink()
    unmasked.unlink()
    written = kept.stat().st_mtime_ns
    seen: list[int] = []
    synthesise(cohort.folder, SMALL, lambda done, total: seen.append(done), workers=1)
    assert seen == [2, 3, 4]
    assert files(cohort) == before
    assert kept.stat().st_mtime_ns == written


def test_an_interrupt_leaves_only_whole_slides(tmp_path: Path):
    def stop(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path, SMALL, stop, workers=1)
    assert len(list((tmp_path / "slides").iterdir())) == 1


def test_a_folder_of_another_cohort_is_refused(cohort: Cohort):
    with pytest.raises(UsageError, match="seed: 0 != 1"):
        synthesise(cohort.folder, CohortSpec(slides=4, side_px=1500, seed=1))
