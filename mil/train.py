"""From a run folder and a table of labels to a head folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..errors import UsageError
from ..features.layout import AnyPath
from ..spec import json_digest
from .answers import require_apart
from .artifact import Trained, require_new, write_head
from .cache import BagCache
from .cases import Cases
from .contract import EmbeddingContract, require_equal
from .covariates import Covariates
from .crossval import cross_validate
from .fit import Progress
from .foreman import Foreman
from .given import GivenSplit, named, plan_given, read_given
from .graded import read_rows
from .labels import Labels, read_targets
from .leaks import require_no_leak
from .outcomes import Outcome, known_of, strata
from .patients import each_alone, pool_patients
from .plan import Plan
from .sites import site_of_patients
from .source import BagSource, bag_source
from .spec import TrainSpec
from .splits import plan_folds
from .unfinished import Unfinished

AS_ALONE: dict[str, Any] = {"jobs": 1, "cache_gb": 0.0}
"""Settings that no weight depends on: a run goes on with others."""


@dataclass(frozen=True)
class TrainReport:
    """What was trained.

    Attributes:
        head: the head folder.
        outcomes: the targets, with their classes, in the order of the probabilities.
        metrics: what metrics.json holds: "head" and "linear_probe" with their estimates, the counts
            of slides and patients, "left_out", the slide_ids that were not used, by reason, and metrics by
            fold and site.
    """

    head: Path
    outcomes: tuple[Outcome, ...]
    metrics: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the first target; none where it has none."""
        return self.outcomes[0].names if self.outcomes[0].target.has_classes else ()


def train(
    run_dir: AnyPath,
    labels_path: AnyPath,
    out_dir: AnyPath,
    spec: TrainSpec,
    progress: Progress | None = None,
) -> TrainReport:
    """Cross-validate on the labelled slides of a run folder and keep one head per fold.

    Finished folds are kept beside `out_dir` until it is whole: the same call goes on after a kill, to the
    same weights. A call with another spec, other labels or other embeddings starts afresh.

    Args:
        run_dir: run folder with embeddings, or a folder of npz files as `NpzSource` takes.
        labels_path: CSV with the columns slide, patient and those of the spec's targets, by default label.
        out_dir: the head folder to make; it must not exist.
        spec: how to train.
        progress: told of every epoch.

    Raises:
        UsageError: labels that cannot be read, matched or split, slides of two patients that are the same,
            or an existing `out_dir`.
        ContractMismatch: stores with different encoders, patch specs or stains.
        StoreError: a store is incomplete or damaged.
    """
    run_dir, labels_path, out_dir = Path(run_dir), Path(labels_path), Path(out_dir)
    require_new(out_dir)
    source = bag_source(run_dir)
    used, left_out = _match(read_targets(labels_path, spec.asked), source)
    used = _with_truth(used, spec, left_out)
    used, given = _given(used, spec, left_out)
    contract = _agree(used, source)
    identities = {slide: source.identity(slide) for slide in used.slides}
    bags = BagCache(source.load, int(spec.cache_gb * 1e9 / (spec.jobs + 1 if spec.jobs > 1 else 1)))
    if not spec.allow_duplicates:
        require_no_leak(used, identities, bags)
    pooled, members = pool_patients(used) if spec.bag == "patient" else (used, each_alone(used))
    known = known_of(pooled, spec.asked)
    require_apart([one.outcome for one in known])
    pooled = strata(pooled, known, spec.folds)
    rows = read_rows(labels_path)
    table = Covariates.of({slide: rows[slide] for slide in used.slides}, spec.covariates)
    cases = Cases(run_dir, members, table.of_bags(rows, members))
    sites = site_of_patients(used, rows, spec.split.column) if spec.split.column else {}
    plan = plan_given(pooled, given, spec) if given else plan_folds(pooled, spec, sites)
    unfinished = Unfinished(out_dir, _key(used, source, spec, (plan, cases)))
    load, foreman = cases.of_slides(bags), Foreman(unfinished, cases, spec, progress)
    result = cross_validate(plan, load, spec, lambda jobs: foreman.heads(jobs, load))
    content = _content(members, identities)
    trained = Trained(result, contract, spec, content, left_out, foreman.history.all(), table)
    write_head(out_dir, trained)
    unfinished.remove()
    return TrainReport(out_dir, result.outcomes, trained.metrics() | trained.tables())


def _match(labels: Labels, source: BagSource) -> tuple[Labels, dict[str, list[str]]]:
    """The labels of slides that have patches, and the slide_ids left out by reason."""
    labelled, there = set(labels.slides), set(source.slides)
    both = labels.only(labelled & there)
    empty = {slide for slide in both.slides if not source.count(slide)}
    used = both.only(set(both.slides) - empty)
    if not used.entries:
        raise UsageError(
            f"No slide of the labels is in the run folder: the labels name {_some(labels.slides)}, "
            f"the run folder holds {_some(sorted(there))}.",
            "The column slide must hold slide_ids, as `slidestream status` lists them.",
        )
    return used, {
        "without_label": sorted(there - labelled),
        "without_store": sorted(labelled - there),
        "without_patches": sorted(empty),
    }


def _with_truth(labels: Labels, spec: TrainSpec, left_out: dict[str, list[str]]) -> Labels:
    """The slides of which any target is known; the others are left out as without label."""
    rows = np.any([one.rows for one in known_of(labels, spec.asked)], axis=0)
    unknown = {slide for slide, known in zip(labels.slides, rows.tolist(), strict=True) if not known}
    left_out["without_label"] = sorted({*left_out["without_label"], *unknown})
    return labels.only(set(labels.slides) - unknown)


def _given(
    used: Labels, spec: TrainSpec, left_out: dict[str, list[str]]
) -> tuple[Labels, tuple[GivenSplit, ...]]:
    """The slides that given splits name, and those splits; all slides where none are given."""
    if not spec.split.given:
        return used, ()
    given = read_given(Path(spec.split.given))
    kept = named(used, given)
    left_out["without_split"] = sorted(set(used.slides) - set(kept.slides))
    if not kept.entries:
        raise UsageError(
            f"{spec.split.given} names no slide or patient of the labels: they name {_some(used.slides)}.",
            "Use the names of the columns slide or patient.",
        )
    return kept, tuple(one.by_patient(kept) for one in given) if spec.bag == "patient" else given


def _agree(labels: Labels, source: BagSource) -> EmbeddingContract:
    """The contract that all bags share."""
    contract = source.contract(labels.slides[0])
    for slide in labels.slides[1:]:
        require_equal(contract, source.contract(slide), f"Slide {slide}")
    return contract


def _content(members: dict[str, tuple[str, ...]], identities: dict[str, str]) -> dict[str, dict[str, str]]:
    """The slides of each bag, with their content identities."""
    return {bag: {slide: identities[slide] for slide in slides} for bag, slides in members.items()}


def _key(labels: Labels, source: BagSource, spec: TrainSpec, how: tuple[Plan, Cases]) -> str:
    """Digest of everything that the weights depend on: a run with another key does not go on with them."""
    of_bags = {slide: source.facts(slide) for slide in labels.slides}
    rows = [[entry.slide, entry.patient, *entry.cells] for entry in labels.entries]
    made_by = {"slidestream": __version__, "torch": torch.__version__}
    facts = {
        "spec": replace(spec, **AS_ALONE).to_dict(),
        "labels": rows,
        "bags": of_bags,
        "plan": how[0].facts(),
        "covariates": {bag: list(map(repr, values)) for bag, values in how[1].covariates.items()},
    }
    return json_digest(facts | {"made_by": made_by})


def _some(names: Iterable[str]) -> str:
    first = list(names)
    return (
        ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")
        if first
        else "nothing"
    )
