"""Slide encoders: values against formulas written out, and embeddings they were not made for refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slidestream.errors import ContractMismatch, UsageError, WeightsMissing
from slidestream.features.encoder import known_card
from slidestream.features.store import open_store
from slidestream.features.zoo.architectures import build_trunk
from slidestream.features.zoo.longnet import SEGMENTS, LongNet, sines
from slidestream.features.zoo.slides import GIGAPATH, SLIDE_ENCODERS, SlideCard
from slidestream.features.zoo.weights import file_sha256, weights_path
from slidestream.mil.slide_encoder import encode_run, encode_slide, load_slide_encoder
from slidestream.tiling.spec import PatchSpec

SMALL = {"in_dim": 1536, "dim": 32, "depth": 2, "heads": 8, "segments": (4, 6, 10, 16, 64)}
RATIOS = (1, 2, 4, 8, 16)
Weights = dict[str, torch.Tensor]
WriteStore = Callable[..., Path]


def drawn() -> Weights:
    network = LongNet(**SMALL)  # type: ignore[arg-type]
    g = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(t.shape, generator=g) * 0.2 + (1.0 if "norm" in name and "weight" in name else 0.0)
        for name, t in network.state_dict().items()
    }


def attention_by_hand(q: Any, k: Any, v: Any, segments: tuple[int, ...]) -> torch.Tensor:
    """Every head, every query, every branch on its own: (L, H, d)."""
    length, heads, width = q.shape
    mixed = torch.zeros_like(q)
    for head in range(heads):
        for i in range(length):
            outs, logs = [], []
            for segment, ratio in zip(segments, RATIOS, strict=True):
                size = min(segment, length)
                start = i // size * size
                group = head // math.ceil(heads / ratio)
                if (i - start) % ratio != group:
                    outs.append(torch.zeros(width))
                    logs.append(-1e8)
                    continue
                seen = [start + group + n * ratio for n in range(math.ceil(size / ratio))]
                keys = torch.stack(
                    [k[j, head] if j < min(start + size, length) else 0 * k[0, 0] for j in seen]
                )
                values = torch.stack(
                    [v[j, head] if j < min(start + size, length) else 0 * v[0, 0] for j in seen]
                )
                score = keys @ q[i, head] / width**0.5
                outs.append((score.exp()[:, None] * values).sum(0) / score.exp().sum())
                logs.append(float(score.exp().sum().log()))
            share = torch.tensor(logs).softmax(0)
            mixed[i, head] = (share[:, None] * torch.stack(outs)).sum(0)
    return mixed


def longnet_by_hand(w: Weights, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    def linear(name: str, y: torch.Tensor) -> torch.Tensor:
        return y @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, y: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
        centred = y - y.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    position = torch.zeros(len(x), 32)
    for n, (column, row) in enumerate(places.tolist()):
        for i in range(8):
            omega = 10000 ** (-i / 8)
            for at, angle in ((0, row * omega), (16, column * omega)):
                position[n, at + i], position[n, at + 8 + i] = math.sin(angle), math.cos(angle)
    y = torch.cat([w["cls_token"][0], linear("patch_embed.proj", x) + position])
    for layer in range(2):
        place = f"encoder.layers.{layer}"
        z = norm(f"{place}.self_attn_layer_norm", y)
        q, k, v = (linear(f"{place}.self_attn.{p}_proj", z).view(-1, 8, 4) for p in "qkv")
        z = attention_by_hand(q, k, v, (4, 6, 10, 16, 64)).reshape(len(y), 32)
        y = y + linear(f"{place}.self_attn.out_proj", norm(f"{place}.self_attn.inner_attn_ln", z))
        z = linear(f"{place}.ffn.fc1", norm(f"{place}.final_layer_norm", y))
        z = z * 0.5 * (1 + torch.erf(z / 2**0.5))
        y = y + linear(f"{place}.ffn.fc2", norm(f"{place}.ffn.ffn_layernorm", z))
    return norm("norm", norm("encoder.layer_norm", y)[0], 1e-6)


@pytest.mark.parametrize("patches", [1, 5, 21])
def test_longnet_is_the_formula(patches: int) -> None:
    weights = drawn()
    network = LongNet(**SMALL)  # type: ignore[arg-type]
    network.load_state_dict(weights)
    g = torch.Generator().manual_seed(patches)
    x = torch.randn(patches, 1536, generator=g)
    places = torch.randint(0, 50, (patches, 2), generator=g).float()
    with torch.inference_mode():
        torch.testing.assert_close(
            network(x, places), longnet_by_hand(weights, x, places), atol=1e-4, rtol=1e-4
        )


def test_the_published_size() -> None:
    network = build_trunk(GIGAPATH.card)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(86.3, abs=0.1)
    widest = 1024**2
    even = [int(2**e) for e in np.linspace(np.log2(1024), int(np.log2(widest)), 5)]
    assert list(SEGMENTS) == even
    assert sines(torch.zeros(1, 2), 768)[0, [0, 192, 384, 576]].tolist() == [0, 1, 0, 1]


@pytest.fixture
def giga(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_store: WriteStore) -> Callable[..., Path]:
    """`giga(**changes)` writes a run folder of one slide whose card is GigaPath's, but for the changes."""
    monkeypatch.setenv("SLIDESTREAM_WEIGHTS", str(tmp_path / "weights"))
    small = SlideCard(
        replace(GIGAPATH.card, dim=32, arguments=SMALL | {"segments": [4, 6, 10, 16, 64]}), "gigapath"
    )
    monkeypatch.setitem(SLIDE_ENCODERS, "gigapath-slide", small)

    def write(slide: str = "a", patch: PatchSpec | None = None, **changes: Any) -> Path:
        x = np.random.default_rng(0).normal(size=(21, 1536)).astype(np.float32)
        card = replace(known_card("gigapath"), sha256="1" * 64, **changes).to_dict()
        spec = (patch or PatchSpec(size_px=256, spacing=0.5)).to_dict()
        return write_store(tmp_path / "run", slide, x, (3,), encoder=card, patch=spec)

    return write


def test_the_real_path(giga: Callable[..., Path], tmp_path: Path) -> None:
    path, store = weights_path(GIGAPATH.card), open_store(giga())
    with pytest.raises(WeightsMissing, match="gigapath-slide"):
        load_slide_encoder("gigapath-slide")
    path.parent.mkdir(parents=True)
    weights = drawn()
    torch.save({"model": weights | {"pos_embed": torch.zeros(1, 5, 32)}}, path)
    encoder = load_slide_encoder("gigapath-slide")
    assert encoder.card.card.sha256 == file_sha256(path)
    good = store.status() == 0
    assert good.sum() == 20
    # The fixture's patches have an extent of 100 px and lie 100 px apart.
    places = torch.from_numpy(store.coords()[good] // 100).float()
    expected = longnet_by_hand(weights, torch.from_numpy(store.features()[good]), places)
    np.testing.assert_allclose(encode_slide(encoder, store), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "uni"}, 'encoder.name: "gigapath" != "uni"'),
        ({"pooling": "mean"}, 'encoder.pooling: "cls" != "mean"'),
        ({"patch": PatchSpec(size_px=256, spacing=1.0)}, "patch.spacing: 0.5 != 1.0"),
        ({"patch": PatchSpec(size_px=224, spacing=0.5)}, "patch.size_px: 256 != 224"),
    ],
)
def test_other_embeddings_are_refused(giga: Callable[..., Path], changes: dict[str, Any], said: str) -> None:
    weights_path(GIGAPATH.card).parent.mkdir(parents=True)
    torch.save({"model": drawn()}, weights_path(GIGAPATH.card))
    with pytest.raises(ContractMismatch) as caught:
        encode_slide(load_slide_encoder("gigapath-slide"), open_store(giga(**changes)))
    assert said in caught.value.cause
    assert "--encoder gigapath" in caught.value.fix
    assert caught.value.exit_code == 2


def test_the_mean_takes_any(cohort: tuple[Path, Path]) -> None:
    encoder = load_slide_encoder("mean")
    slides = dict(encode_run(encoder, cohort[0]))
    assert len(slides) == 24
    store = open_store(cohort[0] / "embeddings/s03.zarr")
    np.testing.assert_allclose(slides["s03"], np.nanmean(store.features(), axis=0), rtol=1e-5)


def test_slides_of_different_embeddings_never_mix(giga: Callable[..., Path], tmp_path: Path) -> None:
    giga("a")
    giga("b", resize=224)
    with pytest.raises(ContractMismatch, match="Slide b"):
        list(encode_run(load_slide_encoder("mean"), tmp_path / "run"))


def test_an_unknown_one() -> None:
    with pytest.raises(UsageError, match="mean, gigapath-slide, titan, prism"):
        load_slide_encoder("chief")


def test_the_command(cli: Callable[..., Any], cohort: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "slides.npz"
    ended = cli("pool", cohort[0], "-o", out, "--device", "cpu", "--json")
    assert ended.code == 0
    document = json.loads(ended.out)
    found = np.load(out)
    assert found["slides"].tolist() == document["slides"]
    assert found["embeddings"].shape == (24, 8)
    assert document["slide_encoder"]["card"]["name"] == "mean"
    assert "24 slides, 8 numbers" in cli("pool", cohort[0], "-o", out, "--device", "cpu").out
    refused = cli("pool", cohort[0], "-o", out, "--slide-encoder", "gigapath-slide")
    assert refused.code in (2, 5)
    listed = json.loads(cli("encoders", "--json").out)["slide_encoders"]
    needs = {"mean": "", "gigapath-slide": "gigapath", "titan": "conch-v1.5", "prism": "virchow"}
    assert {s["name"]: s["needs"] for s in listed} == needs
    assert "slide_encoder.pth" in cli("encoders", "show", "gigapath-slide").out
