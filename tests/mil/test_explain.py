"""Explanations of trained heads: aligned with the store, by the heads that predicted, and to the point."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from slidestream.errors import LimitExceeded, UsageError
from slidestream.features.layout import store_path
from slidestream.features.store import open_store
from slidestream.mil import subsets
from slidestream.mil.artifact import load_head
from slidestream.mil.bags import Bags, bag_from_store
from slidestream.mil.explain import EXPLAINERS, explain, method_names
from slidestream.mil.predict import predict_store
from slidestream.mil.spec import TrainSpec
from slidestream.mil.train import train

Cohort = tuple[Path, Path]


@pytest.fixture(scope="module")
def trained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    head = tmp_path_factory.mktemp("explained") / "head"
    train(*cohort, head, TrainSpec(folds=3, epochs=40, bootstrap=10))
    return cohort[0], head


@pytest.mark.parametrize("method", method_names())
def test_every_method_finds_what_was_planted_and_is_faithful(trained: Cohort, method: str) -> None:
    """A fifth of a positive slide's patches differ in one dimension. Row 3, one of them, is unreadable."""
    head = load_head(trained[1])
    found, faithful = [], []
    for number in (2, 6, 10):
        slide = open_store(store_path(trained[0], f"s{number:02}"))
        explanation = explain(head, slide, predict_store(head, slide), method)
        known = slide.status() == 0
        np.testing.assert_array_equal(np.isfinite(explanation.relevance), known)
        tumour = np.arange(len(known)) < len(known) // 5
        found.append(roc_auc_score(tumour[known], explanation.relevance[known]))
        assert explanation.flipping is not None
        faithful.append(explanation.flipping.score)
    assert min(found) > 0.9, found
    assert min(faithful) > 0.1, faithful


@pytest.mark.parametrize("out_of_fold", [False, True])
def test_the_curves_are_of_the_probability_that_is_predicted(trained: Cohort, out_of_fold: bool) -> None:
    """From the whole bag down to a few patches, as the calibrated ensemble would predict them."""
    head, slide = load_head(trained[1]), open_store(store_path(trained[0], "s02"))
    prediction = predict_store(head, slide, out_of_fold)
    label = int(prediction.probabilities.argmax())
    rising = np.arange(len(slide.status()), dtype=np.float32)
    flipping = explain(head, slide, replace(prediction, attention=rising)).flipping
    assert flipping is not None
    bag = bag_from_store(slide)
    for removed, found in zip(flipping.removed, flipping.most_first, strict=True):
        left = round(len(bag.features) * (1 - removed))
        part = Bags.single(bag.features[:left], bag.coords[:left])
        each = [head.heads[k].task.probabilities(head.heads[k](part).logits) for k in prediction.folds]
        own = head.temperatures(prediction.folds, out_of_fold)
        powers = torch.cat(each).detach() ** torch.from_numpy(1 / own)
        assert found == pytest.approx((powers / powers.sum(1, keepdim=True)).mean(0)[label].item(), abs=1e-6)
    assert flipping.most_first[0] == pytest.approx(prediction.probabilities[label], abs=1e-6)


def test_relevance_is_the_mean_over_the_heads_that_were_asked(trained: Cohort) -> None:
    head, slide = load_head(trained[1]), open_store(store_path(trained[0], "s02"))
    bag, known = bag_from_store(slide), slide.status() == 0
    for out_of_fold in (False, True):
        prediction = predict_store(head, slide, out_of_fold)
        for method, by_one in EXPLAINERS.items():
            each = [by_one(head.heads[k], bag, 1).numpy() for k in prediction.folds]
            found = explain(head, slide, prediction, method).relevance[known]
            np.testing.assert_allclose(found, np.mean(each, 0), atol=1e-6)


def test_what_cannot_be_explained_says_why(
    cohort: Cohort, trained: Cohort, tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, slide = load_head(trained[1]), open_store(store_path(trained[0], "s02"))
    prediction = predict_store(head, slide)
    with pytest.raises(UsageError, match="perturbation, single, gradients"):
        explain(head, slide, prediction, "lime")
    train(*cohort, tmp_path / "head", TrainSpec(head="dsmil", folds=2, epochs=1, bootstrap=1))
    other = load_head(tmp_path / "head")
    monkeypatch.setattr(subsets, "MOST_ASKED", 5)
    with pytest.raises(LimitExceeded, match="--explain single or gradients"):
        explain(other, slide, predict_store(other, slide), "perturbation")
    options = ["-o", tmp_path / "maps", "--slide", "s02", "--explain", "perturbation"]
    ended = cli("heatmap", cohort[0], "--head", tmp_path / "head", *options)
    assert ended.code == 3
    assert "s02: LIMIT" in ended.err


def test_heatmap_explains_and_says_how_faithfully(trained: Cohort, tmp_path: Path, cli: Callable) -> None:
    run, head = trained
    pictures = {}
    for method in method_names():
        options = ["--explain", method, "--slide", "s02", "--json"]
        ended = cli("heatmap", run, "--head", head, "-o", tmp_path / method, *options)
        assert ended.code == 0, ended.err
        document = json.loads(ended.out)
        assert document["method"] == method
        (slide,) = document["slides"]
        assert slide["slide"] == "s02"
        assert slide["faithfulness"] > 0.1
        assert document["pictures"] == [slide["picture"]]
        pictures[method] = np.asarray(Image.open(slide["picture"])).tobytes()
    assert len(set(pictures.values())) == len(pictures)
    refused = cli("heatmap", run, "--head", head, "-o", tmp_path / "none", "--explain", "lime")
    assert refused.code == 2
    assert not (tmp_path / "none").exists()
