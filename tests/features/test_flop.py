"""The operations that the encoding benchmark divides by: from shapes, and as PyTorch counts them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def flop(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("flop")
    sys.modules.pop("flop")


SHAPES = [
    ("vit_small_patch16_224", {"img_size": 224}),
    ("vit_large_patch16_224", {"img_size": 224}),
    ("vit_giant_patch14_dinov2", {"img_size": 224}),
    ("vit_base_patch14_reg4_dinov2", {"img_size": 224}),
]


@pytest.mark.parametrize(("name", "arguments"), SHAPES)
def test_flop_from_shapes_are_what_torch_counts(name: str, arguments: dict[str, Any], flop: Any) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False, num_classes=0, **arguments).eval()
        picture = torch.zeros(1, 3, 224, 224)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.forward_features(picture)
    assert flop.vit_flop(network, 224) == counter.get_total_flops()


def test_against_published_figures(flop: Any) -> None:
    """In 10^9 pairs: 4.6 for DeiT-S (Touvron et al. 2021), 61.6 for ViT-L/16 (as timm lists it)."""
    for name, published in (("vit_small_patch16_224", 4.6e9), ("vit_large_patch16_224", 61.6e9)):
        with torch.device("meta"):
            network = timm.create_model(name, pretrained=False, num_classes=0)
        assert flop.vit_flop(network, 224) / 2 == pytest.approx(published, rel=0.02)


def test_utilisation(flop: Any) -> None:
    assert flop.utilisation(1000.0, 4.5e11, 900.0) == pytest.approx(0.5)
