"""TITAN and PRISM: values against their formulas written out, files with the published names of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from slidestream.errors import ContractMismatch, EnvironmentProblem, WeightsMissing
from slidestream.features.encoder import known_card
from slidestream.features.store import open_store
from slidestream.features.zoo.architectures import build_trunk
from slidestream.features.zoo.slides import PRISM, SLIDE_ENCODERS, TITAN, SlideCard
from slidestream.features.zoo.titan import Titan, slopes
from slidestream.features.zoo.weights import weights_path
from slidestream.mil.slide_encoder import encode_slide, load_slide_encoder, places_of
from slidestream.tiling.spec import PatchSpec

Weights = dict[str, torch.Tensor]
SMALL = {
    "titan": {"dim": 24, "depth": 2, "heads": 3, "pool_heads": 2},
    "prism": {"context": 20, "dim": 12, "latents": 4, "among": 2, "heads": 3},
}
SPECS = {"titan": PatchSpec(size_px=512, spacing=0.5), "prism": PatchSpec(size_px=224, spacing=0.5)}
NEEDS = {"titan": "conch-v1.5", "prism": "virchow"}
WIDTH = {"titan": 24, "prism": 20}


def drawn(shapes: dict[str, tuple[int, ...]]) -> Weights:
    g = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(shape, generator=g) * 0.3 + (1.0 if "norm" in name or "ln_" in name else 0.0)
        for name, shape in shapes.items()
    }


def titan_file(dim: int = 24, depth: int = 2) -> Weights:
    """The names and shapes that the authors' code gives its tensors, text tower and captions included."""
    pairs = {"patch_embed.0": (dim, dim), "norm": (dim,)}
    for n in range(depth):
        block = f"blocks.modules_list.{n}."
        pairs |= {f"{block}{norm}": (dim,) for norm in ("norm1", "norm2")}
        pairs |= {f"{block}attn.qkv": (3 * dim, dim), f"{block}attn.proj": (dim, dim)}
        pairs |= {f"{block}mlp.fc1": (4 * dim, dim), f"{block}mlp.fc2": (dim, 4 * dim)}
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, dim), "proj": (dim, dim)}
    for pooler, queries in (("attn_pool", 5), ("attn_pool_contrastive", 1)):
        pairs |= {f"{pooler}.{norm}": (dim,) for norm in ("ln_q", "ln_k")}
        pairs |= {f"{pooler}.attn.out_proj": (dim, dim)}
        shapes |= {f"{pooler}.query": (queries, dim), f"{pooler}.attn.in_proj_weight": (3 * dim, dim)}
        shapes |= {f"{pooler}.attn.in_proj_bias": (3 * dim,)}
    for name, shape in pairs.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    found = {f"vision_encoder.{name}": tensor for name, tensor in drawn(shapes).items()}
    return found | {"text_encoder.positional_embedding": torch.ones(3)}


def prism_file(shared: str) -> Weights:
    """The same of PRISM; weights that layers share are there for all, or only for the last of them."""
    dim, depth, among = 12, 8, 2
    shapes: dict[str, tuple[int, ...]] = {"image_resampler.perceiver.latents": (4, dim)}
    for norm in ("cls_norm", "img_norm"):
        shapes |= {f"image_resampler.{norm}.weight": (dim,), f"image_resampler.{norm}.bias": (dim,)}
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for kind in ("first", "later"):
        parts[kind] = {"xattn.x_norm.weight": (dim,), "xattn.x_norm.bias": (dim,)}
        parts[kind] |= {"xattn.to_q.weight": (dim, dim), "xattn.to_out.weight": (dim, dim)}
        parts[kind] |= {"xattn.to_kv.weight": (2 * dim, 20)} | feed_forward(dim)
    parts["tf"] = {}
    for n in range(among):
        part = {
            "mhsa.norm.weight": (dim,),
            "mhsa.norm.bias": (dim,),
            "mhsa.mha.in_proj_weight": (3 * dim, dim),
        }
        part |= {"mhsa.mha.out_proj.weight": (dim, dim)} | feed_forward(dim)
        parts["tf"] |= {f"{n}.{name}": shape for name, shape in part.items()}
    flat = drawn(shapes | {f"{kind}.{name}": s for kind, part in parts.items() for name, s in part.items()})
    file = {name: tensor for name, tensor in flat.items() if name in shapes}
    for name, tensor in flat.items():
        kind, _, rest = name.partition(".")
        layers = {"first": [0], "later": range(1, depth), "tf": range(depth)}.get(kind, [])
        for layer in layers if shared == "all" else layers[-1:]:
            where = "tf" if kind == "tf" else "xattn"
            file[f"image_resampler.perceiver.layers.{layer}.{where}.{rest}"] = tensor.clone()
    unused = {"temperature": torch.ones(()), "text_decoder.model.x": torch.ones(2)}
    return file | unused | {"img_to_latents.to_latents.weight": torch.ones(2, 2)}


def feed_forward(dim: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"ff.norm.weight": (dim,), "ff.norm.bias": (dim,)}
    shapes |= {"ff.net.0.weight": (2 * dim, dim), "ff.net.0.bias": (2 * dim,)}
    return shapes | {"ff.net.2.weight": (dim, dim), "ff.net.2.bias": (dim,)}


def norm(x: torch.Tensor, w: Weights, name: str, eps: float = 1e-5) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: torch.Tensor, w: Weights, name: str) -> torch.Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()))


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def attend(q: Any, k: Any, v: Any, heads: int, bias: Callable[[int, int, int], float]) -> torch.Tensor:
    """Query by query, head by head: (L, D) over (N, D)."""
    width = q.shape[1] // heads
    out = torch.zeros_like(q)
    for head in range(heads):
        of = slice(head * width, (head + 1) * width)
        for i in range(len(q)):
            scores = torch.stack([q[i, of] @ k[j, of] / width**0.5 + bias(head, i, j) for j in range(len(k))])
            out[i, of] = (scores.softmax(0)[:, None] * v[:, of]).sum(0)
    return out


def titan_by_hand(w: Weights, x: torch.Tensor, places: list[tuple[int, int]], heads: int = 3) -> torch.Tensor:
    """`places`: column and row of each patch, no two alike."""
    w = {name.removeprefix("vision_encoder."): tensor for name, tensor in w.items()}
    slope = {1: [2**-8.0], 2: [2**-4.0, 2**-8.0], 3: [2**-4.0, 2**-8.0, 2**-2.0]}[heads]

    def bias(head: int, i: int, j: int) -> float:
        return -slope[head] * math.dist(places[i - 1], places[j - 1]) if i and j else 0.0

    y = torch.cat([w["cls_token"][0], gelu(linear(x, w, "patch_embed.0"))])
    for n in range(2):
        block = f"blocks.modules_list.{n}."
        q, k, v = linear(norm(y, w, f"{block}norm1", 1e-6), w, f"{block}attn.qkv").chunk(3, 1)
        y = y + linear(attend(q, k, v, heads, bias), w, f"{block}attn.proj")
        z = gelu(linear(norm(y, w, f"{block}norm2", 1e-6), w, f"{block}mlp.fc1"))
        y = y + linear(z, w, f"{block}mlp.fc2")
    y = norm(y, w, "norm", 1e-6)
    pool = "attn_pool_contrastive"
    keys, query = norm(y, w, f"{pool}.ln_k"), norm(w[f"{pool}.query"], w, f"{pool}.ln_q")
    into, shift = (w[f"{pool}.attn.in_proj_{kind}"].chunk(3) for kind in ("weight", "bias"))
    q, k, v = (a @ m.T + b for a, m, b in zip((query, keys, keys), into, shift, strict=True))
    return linear(attend(q, k, v, 2, lambda *_: 0.0), w, f"{pool}.attn.out_proj")[0]


def prism_by_hand(w: Weights, x: torch.Tensor) -> torch.Tensor:
    """Layer by layer as the names say, of a file that has all of them."""

    def fed(y: torch.Tensor, name: str) -> torch.Tensor:
        value, gate = linear(norm(y, w, f"{name}.norm"), w, f"{name}.net.0").chunk(2, 1)
        return y + linear(value * gelu(gate), w, f"{name}.net.2")

    place = "image_resampler.perceiver"
    y = w[f"{place}.latents"]
    for layer in range(8):
        to = f"{place}.layers.{layer}.xattn.xattn"
        k, v = linear(x, w, f"{to}.to_kv").chunk(2, 1)
        q = linear(norm(y, w, f"{to}.x_norm"), w, f"{to}.to_q")
        y = y + linear(attend(q, k, v, 1, lambda *_: 0.0), w, f"{to}.to_out")
        y = fed(y, f"{place}.layers.{layer}.xattn.ff")
        for n in range(2):
            among = f"{place}.layers.{layer}.tf.{n}"
            z = norm(y, w, f"{among}.mhsa.norm") @ w[f"{among}.mhsa.mha.in_proj_weight"].T
            y = y + linear(attend(*z.chunk(3, 1), 3, lambda *_: 0.0), w, f"{among}.mhsa.mha.out_proj")
            y = fed(y, f"{among}.ff")
    return norm(y[0], w, "image_resampler.cls_norm")


@pytest.fixture
def slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_store: Callable[..., Path]) -> Any:
    """`slide(name, file, **changes)` is a store of 23 patches that fit; the file is kept as weights."""
    monkeypatch.setenv("SLIDESTREAM_WEIGHTS", str(tmp_path / "weights"))

    def make(name: str, file: Weights | None, /, patch: PatchSpec | None = None, **changes: Any) -> Any:
        published = {"titan": TITAN, "prism": PRISM}[name]
        card = replace(published.card, dim=SMALL[name]["dim"], arguments=SMALL[name])
        monkeypatch.setitem(SLIDE_ENCODERS, name, SlideCard(card, published.needs))
        if file:
            weights_path(card).parent.mkdir(parents=True)
            save_file(file, weights_path(card))
        x = np.random.default_rng(0).normal(size=(23, WIDTH[name])).astype(np.float32)
        patches = replace(known_card(NEEDS[name]), sha256="1" * 64, **changes).to_dict()
        spec = (patch or SPECS[name]).to_dict()
        return open_store(write_store(tmp_path / "run", "a", x, (3,), encoder=patches, patch=spec))

    return make


def test_titan_is_the_formula(slide: Any) -> None:
    file = titan_file()
    store = slide("titan", file)
    good = store.status() == 0
    # The fixture's patches have an extent of 100 px and lie 100 px apart.
    places = [(int(x), int(y)) for x, y in store.coords()[good] // 100]
    expected = titan_by_hand(file, torch.from_numpy(store.features()[good]), places)
    found = encode_slide(load_slide_encoder("titan"), store)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    turned = titan_by_hand(file, torch.from_numpy(store.features()[good]), [(0, n) for n in range(22)])
    assert np.abs(found - turned.numpy()).max() > 1e-3, "where patches lie counts"


@pytest.mark.parametrize("shared", ["all", "last"])
def test_prism_is_the_formula(slide: Any, shared: str) -> None:
    store = slide("prism", prism_file(shared))
    good = store.status() == 0
    expected = prism_by_hand(prism_file("all"), torch.from_numpy(store.features()[good]))
    np.testing.assert_allclose(encode_slide(load_slide_encoder("prism"), store), expected, atol=2e-5)


def test_layers_that_do_not_share_are_refused(slide: Any) -> None:
    file = prism_file("all")
    file["image_resampler.perceiver.layers.2.xattn.ff.net.0.bias"] += 1
    slide("prism", file)
    with pytest.raises(EnvironmentProblem, match=r"later\.ff\.widen\.bias do not share"):
        load_slide_encoder("prism")


@pytest.mark.parametrize(("name", "file"), [("titan", titan_file()), ("prism", prism_file("all"))])
def test_files_that_do_not_fit_are_refused(name: str, file: Weights, slide: Any) -> None:
    slide(name, {f"{'vision_encoder.' if name == 'titan' else ''}more": torch.ones(1)} | file)
    with pytest.raises(EnvironmentProblem, match="more is left over"):
        load_slide_encoder(name)


@pytest.mark.parametrize("name", ["titan", "prism"])
def test_without_weights_the_command_is_named(name: str, slide: Any) -> None:
    slide(name, None)
    with pytest.raises(WeightsMissing, match=name) as caught:
        load_slide_encoder(name)
    assert caught.value.exit_code == 5
    assert f"encoders pull {name}`" in caught.value.fix
    assert "gated" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("titan", {"name": "uni"}, 'encoder.name: "conch-v1.5" != "uni"'),
        ("titan", {"patch": PatchSpec(size_px=256, spacing=0.5)}, "patch.size_px: 512 != 256"),
        ("titan", {"patch": PatchSpec(size_px=512, spacing=1.0)}, "patch.spacing: 0.5 != 1.0"),
        ("prism", {"name": "virchow2"}, 'encoder.name: "virchow" != "virchow2"'),
        ("prism", {"pooling": "cls", "dim": 1280}, "encoder.dim: 2560 != 1280"),
        ("prism", {"patch": PatchSpec(size_px=256, spacing=0.5)}, "patch.size_px: 224 != 256"),
    ],
)
def test_other_embeddings_are_refused(name: str, changes: dict[str, Any], said: str, slide: Any) -> None:
    store = slide(name, titan_file() if name == "titan" else prism_file("all"), **changes)
    with pytest.raises(ContractMismatch) as caught:
        encode_slide(load_slide_encoder(name), store)
    assert said in caught.value.cause
    assert f"--encoder {NEEDS[name]}" in caught.value.fix


def test_the_published_sizes() -> None:
    """By the shapes in the published configurations: counted by hand, and in the network at full size."""
    dim = 768
    block = 4 * dim + 4 * dim**2 + 4 * dim + 8 * dim**2 + 5 * dim
    pooler = dim + 4 * dim + 4 * dim**2 + 4 * dim
    by_hand = {"titan": dim**2 + dim + dim + 6 * block + 2 * dim + pooler}
    dim, context = 1280, 2560
    feed = 2 * dim + 2 * dim**2 + 2 * dim + dim**2 + dim
    across = 2 * dim + 2 * dim**2 + 2 * dim * context + feed
    by_hand["prism"] = 513 * dim + 2 * across + 6 * (2 * dim + 4 * dim**2 + feed) + 2 * dim
    for card in (TITAN.card, PRISM.card):
        network: Any = build_trunk(card)
        assert sum(p.numel() for p in network.parameters()) == by_hand[card.name]
    assert slopes(12).tolist() == pytest.approx(
        [2.0**-n for n in range(1, 9)] + [2.0 ** -(n + 0.5) for n in range(4)]
    )


def test_many_patches_are_seen_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from slidestream.features.zoo import titan

    network = Titan(**SMALL["titan"])
    network.load_state_dict(drawn({name: tuple(t.shape) for name, t in network.state_dict().items()}))
    g = torch.Generator().manual_seed(2)
    x, places = torch.randn(40, 24, generator=g), torch.randperm(100, generator=g)[:40]
    where = torch.stack([places % 10, places // 10], 1).float()
    with torch.inference_mode():
        whole = network(x, where)
        monkeypatch.setattr(titan, "QUERIES", 7)
        torch.testing.assert_close(network(x, where), whole, atol=1e-5, rtol=1e-5)
        # Two patches in one cell count as their sum.
        doubled = network(torch.cat([x[:1] / 2, x[:1] / 2, x[1:]]), torch.cat([where[:1], where]))
        torch.testing.assert_close(doubled, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("extent", [100.0, 1013.7, 913.3333])
@pytest.mark.parametrize("offset", [0.0, 37.4])
def test_rounded_corners_keep_their_place(extent: float, offset: float) -> None:
    step = np.arange(200)
    corners = np.round(offset + step * extent).astype(np.int32)
    coords = torch.from_numpy(np.stack([corners, corners[::-1].copy()], 1))
    found = places_of(coords, torch.tensor([extent, extent]))
    assert found[:, 0].tolist() == step.tolist()
    assert found[:, 1].tolist() == step[::-1].tolist()
    half = torch.from_numpy(np.round(np.arange(9) * extent / 2).astype(np.int32))[:, None].expand(-1, 2)
    overlapping = places_of(half, torch.tensor([extent, extent]))
    assert overlapping[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
