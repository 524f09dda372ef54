"""Every encoder, through the real path: a published file, strict loading, transform, network, pooling.

References are built as each model card says, by timm, transformers or torchvision, and pooled by hand. Vision
transformers have one block here, all else at full size; at full depth their shapes are tested in
test_zoo_cards.py, and those of up to 300 million parameters run in the slow tests. CTransPath and ResNet-50
are whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from timm.layers import SwiGLUPacked
from torch import nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTModel,
)

from slidestream.features.embedder import Embedder
from slidestream.features.encoder import load_encoder
from slidestream.features.zoo.registry import zoo
from slidestream.features.zoo.weights import weights_path

from .zoo import offer, patches, randomise, save, transformed

Tensors = dict[str, torch.Tensor]
GLU = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
DINO_G = {"img_size": 224, "init_values": 1e-5}


@dataclass
class Reference:
    """A published network: what its file holds, and what it says of normalised pictures."""

    file: Tensors
    embed: Callable[[torch.Tensor], torch.Tensor]
    nested: str = ""


def of_timm(
    depth: int, name: str, pool: Callable[[torch.Tensor], torch.Tensor] | None = None, **kwargs: Any
) -> Reference:
    """As the model card calls timm; `pool` takes all tokens, else it is the network's class token."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0, depth=depth, **kwargs)
    randomise(model)
    embed = model if pool is None else lambda x: pool(model.forward_features(x))
    return Reference(model.state_dict(), embed)


def of_transformers(
    network: Callable[[Any], Any], config: Any, tmp: Path, pool: Callable[[torch.Tensor], torch.Tensor]
) -> Reference:
    """As `save_pretrained` publishes it."""
    with torch.device("meta"):
        model = network(config)
    randomise(model).save_pretrained(tmp / "published")
    return Reference(
        load_file(tmp / "published/model.safetensors"),
        lambda x: pool(model(pixel_values=x).last_hidden_state),
    )


def cls(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[:, 0]


def cls_mean(skipped: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tokens: torch.cat(
        [tokens[:, 0], tokens[:, skipped:].sum(1) / (tokens.shape[1] - skipped)], -1
    )


def hibou(width: int, heads: int, tmp: Path, depth: int) -> Reference:
    config = Dinov2WithRegistersConfig(
        hidden_size=width,
        num_attention_heads=heads,
        num_hidden_layers=depth,
        image_size=224,
        patch_size=14,
        num_register_tokens=4,
        use_swiglu_ffn=True,
    )
    return of_transformers(Dinov2WithRegistersModel, config, tmp, cls)


def midnight(tmp: Path, depth: int) -> Reference:
    config = Dinov2Config(
        hidden_size=1536,
        num_attention_heads=24,
        num_hidden_layers=depth,
        image_size=518,
        patch_size=14,
        use_swiglu_ffn=True,
    )
    return of_transformers(Dinov2Model, config, tmp, cls_mean(1))


def phikon_v2(tmp: Path, depth: int) -> Reference:
    config = Dinov2Config(
        hidden_size=1024, num_attention_heads=16, num_hidden_layers=depth, image_size=224, patch_size=16
    )
    return of_transformers(Dinov2Model, config, tmp, cls)


def phikon(tmp: Path, depth: int) -> Reference:
    network = partial(ViTModel, add_pooling_layer=False)
    return of_transformers(network, ViTConfig(num_hidden_layers=depth), tmp, cls)


def conch(depth: int) -> Reference:
    """Attention pooling written out: one query, eight heads of 96, softmax over all tokens."""
    trunk: Any = randomise(
        timm.create_model("vit_large_patch16_224", num_classes=0, depth=depth, init_values=1e-6), 1
    )
    g = torch.Generator().manual_seed(2)
    shapes = {
        "query": (1, 768),
        "ln_k.weight": (1024,),
        "ln_k.bias": (1024,),
        "ln_q.weight": (768,),
        "ln_q.bias": (768,),
        "to_q.weight": (768, 768),
        "to_kv.weight": (1536, 1024),
        "to_out.weight": (768, 768),
    }
    p = {name: torch.randn(shape, generator=g) * 0.05 for name, shape in shapes.items()}
    last = {name: torch.randn(768, generator=g) for name in ("weight", "bias")}

    def embed(x: torch.Tensor) -> torch.Tensor:
        b = len(x)
        grid = trunk.pos_embed[:, 1:].reshape(1, 14, 14, 1024).permute(0, 3, 1, 2)
        grid = nn.functional.interpolate(grid, scale_factor=(28.1 / 14, 28.1 / 14), mode="bicubic")
        positions = torch.cat([trunk.pos_embed[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 784, 1024)], 1)
        tokens = torch.cat([trunk.cls_token.expand(b, 1, 1024), _patches_of(trunk, x)], 1) + positions
        for block in trunk.blocks:
            tokens = block(tokens)
        tokens = trunk.norm(tokens)
        keyed = nn.functional.layer_norm(tokens, (1024,), p["ln_k.weight"], p["ln_k.bias"])
        query = nn.functional.layer_norm(p["query"], (768,), p["ln_q.weight"], p["ln_q.bias"])
        q = (query @ p["to_q.weight"].T).view(8, 96)
        k, v = (keyed @ p["to_kv.weight"].T).view(b, 785, 2, 8, 96).unbind(2)
        weight = (torch.einsum("hd,bthd->bth", q, k) / 96**0.5).softmax(1)
        pooled = torch.einsum("bth,bthd->bhd", weight, v).reshape(b, 768) @ p["to_out.weight"].T
        return nn.functional.layer_norm(pooled, (768,), last["weight"], last["bias"])

    file = {f"trunk.{k}": v for k, v in trunk.state_dict().items()}
    file |= {f"attn_pool_contrast.{k}": v for k, v in p.items()}
    return Reference(file | {f"ln_contrast.{k}": v for k, v in last.items()}, embed)


def _patches_of(trunk: Any, x: torch.Tensor) -> torch.Tensor:
    proj = trunk.patch_embed.proj
    return nn.functional.conv2d(x, proj.weight, proj.bias, stride=16).flatten(2).transpose(1, 2)


def ctranspath() -> Reference:
    """The stem by hand, then torchvision's Swin-tiny, which is another implementation than timm's."""
    stem = nn.Sequential(
        nn.Conv2d(3, 12, 3, 2, 1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, 2, 1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 96, 1),
    )
    randomise(stem, 3)
    norm = randomise(nn.LayerNorm(96), 4)
    swin: Any = randomise(torchvision.models.swin_t(weights=None), 5)
    file = {f"patch_embed.proj.{k}": v for k, v in stem.state_dict().items()}
    file |= {f"patch_embed.norm.{k}": v for k, v in norm.state_dict().items()}
    file |= {f"norm.{k}": v for k, v in swin.norm.state_dict().items()}
    for stage in range(4):
        for number, block in enumerate(swin.features[1 + 2 * stage]):
            place = f"layers.{stage}.blocks.{number}."
            for name, tensor in block.state_dict().items():
                ours = name.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
                file[place + ours] = tensor
            file[place + "attn_mask"] = torch.zeros(1)
        if stage < 3:  # the authors' file has it at the end of the stage
            for name, tensor in swin.features[2 + 2 * stage].state_dict().items():
                file[f"layers.{stage}.downsample.{name}"] = tensor

    def embed(x: torch.Tensor) -> torch.Tensor:
        tokens = norm(stem(x).permute(0, 2, 3, 1))
        return swin.norm(swin.features[1:](tokens)).mean((1, 2))  # type: ignore[no-any-return]

    return Reference({k: v for k, v in file.items() if "relative_position_index" not in k}, embed, "model")


def resnet50() -> Reference:
    """torchvision's, cut after the third stage; its names are timm's."""
    net: Any = randomise(torchvision.models.resnet50(weights=None), 6)
    upto = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3)
    return Reference(net.state_dict(), lambda x: upto(x).mean((2, 3)))


VIRCHOW = {"img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": "", **GLU}
H_OPTIMUS = (
    "vit_giant_patch14_reg4_dinov2",
    {"img_size": 224, "init_values": 1e-5, "dynamic_img_size": False},
)
H0_MINI = {"img_size": 224, "mlp_ratio": 5.33334, "reg_tokens": 4, "init_values": 1e-5, **GLU}
UNI2 = {
    "img_size": 224,
    "patch_size": 14,
    "num_heads": 24,
    "init_values": 1e-5,
    "embed_dim": 1536,
    "mlp_ratio": 2.66667 * 2,
    "no_embed_class": True,
    "reg_tokens": 8,
    "dynamic_img_size": True,
    **GLU,
}
VIT_518 = {"img_size": 518, "dynamic_img_size": True}

REFERENCES: dict[str, Callable[[Path, int], Reference]] = {
    "uni": lambda _, depth: of_timm(depth, "vit_large_patch16_224", init_values=1e-5, dynamic_img_size=True),
    "uni2-h": lambda _, depth: of_timm(depth, "vit_giant_patch14_224", **UNI2),
    "conch-v1.5": lambda _, depth: conch(depth),
    "virchow": lambda _, depth: of_timm(depth, "vit_huge_patch14_224", cls_mean(1), **VIRCHOW),
    "virchow2": lambda _, depth: of_timm(depth, "vit_huge_patch14_224", cls_mean(5), reg_tokens=4, **VIRCHOW),
    "gigapath": lambda _, depth: of_timm(
        depth, "vit_giant_patch14_dinov2", patch_size=16, mlp_ratio=5.33334, **DINO_G
    ),
    "h-optimus-0": lambda _, depth: of_timm(depth, H_OPTIMUS[0], **H_OPTIMUS[1]),
    "h-optimus-1": lambda _, depth: of_timm(depth, H_OPTIMUS[0], **H_OPTIMUS[1]),
    "h0-mini": lambda _, depth: of_timm(depth, "vit_base_patch14_reg4_dinov2", cls, **H0_MINI),
    "h0-mini-cls-mean": lambda _, depth: of_timm(
        depth, "vit_base_patch14_reg4_dinov2", cls_mean(5), **H0_MINI
    ),
    "hibou-b": lambda tmp, depth: hibou(768, 12, tmp, depth),
    "hibou-l": lambda tmp, depth: hibou(1024, 16, tmp, depth),
    "phikon": phikon,
    "phikon-v2": phikon_v2,
    "kaiko-vits8": lambda _, depth: of_timm(depth, "vit_small_patch8_224"),
    "kaiko-vits16": lambda _, depth: of_timm(depth, "vit_small_patch16_224"),
    "kaiko-vitb8": lambda _, depth: of_timm(depth, "vit_base_patch8_224"),
    "kaiko-vitb16": lambda _, depth: of_timm(depth, "vit_base_patch16_224"),
    "kaiko-vitl14": lambda _, depth: of_timm(depth, "vit_large_patch14_reg4_dinov2", **VIT_518),
    "midnight-12k": midnight,
    "gpfm": lambda _, depth: of_timm(depth, "vit_large_patch14_dinov2", **DINO_G),
    "lunit-dino-s8": lambda _, depth: of_timm(depth, "vit_small_patch8_224"),
    "ctranspath": lambda *_: ctranspath(),
    "dinov2-vitb14": lambda _, depth: of_timm(depth, "vit_base_patch14_dinov2", **VIT_518),
    "resnet50": lambda *_: resnet50(),
}
WHOLE = ("ctranspath", "resnet50")
FULL_DEPTH = {
    **dict.fromkeys(("uni", "conch-v1.5", "hibou-l", "phikon-v2", "kaiko-vitl14", "gpfm"), 24),
    **dict.fromkeys(
        ("h0-mini", "h0-mini-cls-mean", "hibou-b", "phikon", "kaiko-vitb16", "dinov2-vitb14"), 12
    ),
}
"""At full depth in the slow tests; the others are larger than is kind to a machine, or of the same kind."""


def test_every_card_has_a_reference() -> None:
    assert set(REFERENCES) == set(zoo())


@pytest.mark.parametrize("name", REFERENCES)
def test_embeddings_are_the_published_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(name, 1, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_DEPTH)
def test_at_full_depth(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(name, FULL_DEPTH[name], tmp_path, monkeypatch)


def compare(name: str, depth: int, tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = REFERENCES[name](tmp, depth)
    reduced = depth == 1 and name not in WHOLE
    card = offer(monkeypatch, zoo()[name], tmp, **({"depth": 1} if reduced else {}))
    save(reference.file, weights_path(card), reference.nested)
    encoder = load_encoder(name)
    pixels = patches(2, card.patch_px)
    normalised = transformed(card, pixels)
    with torch.inference_mode():
        ours = encoder.module.preprocess(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        expected = reference.embed(normalised)
    assert (ours - normalised).abs().max() < 1e-5, "the transform, before the network"
    found = torch.from_numpy(Embedder(encoder, "cpu")(pixels))
    assert found.shape == (2, card.dim)
    assert len(encoder.card.sha256) == 64
    # Relative to how much the two patches differ: a network that ignores its input would pass otherwise.
    spread = (expected[0] - expected[1]).abs().mean()
    assert spread > 0
    assert (found - expected).abs().max() < 1e-3 * spread
