"""From the names that tensors have in a published file to the names in our architecture.

Nothing is guessed: what is left over or missing after this fails the strict loading.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import EnvironmentProblem, UsageError
from .resnet import ResNetLayer3

Tensors = dict[str, torch.Tensor]

NOT_WEIGHTS = ("relative_position_index", "attn_mask")
"""Buffers of old Swin files, which are computed anew."""

# transformers' names of a ViT and of a DINOv2, and timm's.
_TRANSFORMERS = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
)
_SPLIT = re.compile(r"^(blocks\.\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)$")


def from_transformers(tensors: Tensors, trunk: nn.Module) -> Tensors:
    """A ViT, DINOv2 or DINOv2 with registers of transformers, for timm's vision transformer.

    Query, key and value become one matrix. Positions for another size of picture are resampled as
    transformers does at each call. What only pre-training needs, the mask token and the pooler, is left out.
    """
    renamed: Tensors = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("pooler.") or name == "embeddings.mask_token":
            continue
        for pattern, ours in _TRANSFORMERS:
            name = re.sub(pattern, ours, name)  # noqa: PLW2901 - each rule works on what the last one left
        split = _SPLIT.match(name)
        if split:
            block, which, kind = split.groups()
            parts.setdefault(f"{block}.attn.qkv.{kind}", {})[which] = tensor
        else:
            renamed[name] = tensor
    for name, found in parts.items():
        if len(found) == 3:  # else it stays missing, and strict loading names it
            renamed[name] = torch.cat([found["query"], found["key"], found["value"]])
    return _positions(renamed, trunk)


def _positions(tensors: Tensors, trunk: nn.Module) -> Tensors:
    """Positions for the trunk's grid; the class token's own is added to it where timm keeps none for it."""
    registers = "reg_token" in tensors
    positions, token = tensors.get("pos_embed"), tensors.get("cls_token")
    if positions is None or token is None:
        return tensors
    transformer: Any = trunk
    (rows, columns), old = transformer.patch_embed.grid_size, round((positions.shape[1] - 1) ** 0.5)
    patches = positions[:, 1:]
    if (rows, columns) != (old, old):
        square = patches.reshape(1, old, old, -1).permute(0, 3, 1, 2).float()
        # DINOv2 with registers was trained with antialiasing here, DINOv2 without.
        square = F.interpolate(square, (rows, columns), mode="bicubic", antialias=registers)
        patches = square.flatten(2).transpose(1, 2)
    if transformer.no_embed_class:
        return tensors | {"cls_token": token + positions[:, :1], "pos_embed": patches}
    return tensors | {"pos_embed": torch.cat([positions[:, :1], patches], 1)}


def from_ctranspath(tensors: Tensors, _: nn.Module) -> Tensors:
    """The authors' Swin, which halves at a stage's end, for timm's, which does at the next one's start."""

    def moved(name: str) -> str:
        return re.sub(
            r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m.group(1)) + 1}.downsample", name
        )

    return {moved(name): t for name, t in tensors.items() if not name.endswith(NOT_WEIGHTS)}


def as_they_are(tensors: Tensors, trunk: nn.Module) -> Tensors:
    """The architecture's own names; a classifier that the architecture is built without is left out."""
    if isinstance(trunk, ResNetLayer3):
        return {f"whole.{name}": tensor for name, tensor in tensors.items()}
    known = getattr(trunk, "pretrained_cfg", {}).get("classifier") or ()
    heads = tuple(f"{head}." for head in ([known] if isinstance(known, str) else known))
    ours = trunk.state_dict()
    return {name: t for name, t in tensors.items() if name in ours or not name.startswith(heads or "\0")}


def from_longnet(tensors: Tensors, _: nn.Module) -> Tensors:
    """GigaPath's slide encoder; its table of positions is fixed and computed here."""
    return {name: t for name, t in tensors.items() if name != "pos_embed"}


def from_titan(tensors: Tensors, _: nn.Module) -> Tensors:
    """TITAN's vision tower. What only its text tower and its captions need is left out."""
    tower = "vision_encoder."
    others = tuple(f"{tower}{name}" for name in ("attn_pool.", "proj"))
    kept = {name: t for name, t in tensors.items() if not name.startswith(("text_encoder.", *others))}
    return {
        name.removeprefix(tower).replace("blocks.modules_list.", "blocks."): t for name, t in kept.items()
    }


# PRISM's names of its Perceiver, and ours. Layers that share weights become one.
_PERCEIVER = (
    (r"^image_resampler\.(perceiver\.)?", ""),
    (r"^layers\.0\.xattn\.", "first."),
    (r"^layers\.\d+\.xattn\.", "later."),
    (r"^layers\.\d+\.tf\.(\d+)\.", r"among.\1."),
    (r"^(first|later)\.xattn\.", r"\1."),
    (r"\.mhsa\.mha\.in_proj_weight$", ".qkv.weight"),
    (r"\.mhsa\.mha\.out_proj\.", ".out."),
    (r"\.mhsa\.norm\.", ".norm."),
    (r"\.ff\.net\.0\.", ".ff.widen."),
    (r"\.ff\.net\.2\.", ".ff.narrow."),
)
_NOT_OF_THE_SLIDE = (
    "text_decoder.",
    "img_to_latents.",
    "text_to_latents.",
    "temperature",
    "image_resampler.img_norm.",
)


def from_prism(tensors: Tensors, _: nn.Module) -> Tensors:
    """PRISM's slide encoder; its text decoder and the heads of its training are left out.

    Weights that layers share may be in the file once, under the name of any of them, or under all.

    Raises:
        EnvironmentProblem: layers that should share weights do not.
    """
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        if name.startswith(_NOT_OF_THE_SLIDE):
            continue
        for pattern, ours in _PERCEIVER:
            name = re.sub(pattern, ours, name)  # noqa: PLW2901 - each rule works on what the last one left
        if not torch.equal(renamed.setdefault(name, tensor), tensor):
            raise EnvironmentProblem(f"The layers of {name} do not share their weights.", "Check the file.")
    return renamed


SCHEMES: dict[str, Callable[[Tensors, nn.Module], Tensors]] = {
    "": as_they_are,
    "transformers": from_transformers,
    "ctranspath": from_ctranspath,
    "longnet": from_longnet,
    "prism": from_prism,
    "titan": from_titan,
}


def renamed(tensors: Tensors, keys: str, trunk: nn.Module) -> Tensors:
    """The tensors of a file by the names that `trunk` has.

    Raises:
        UsageError: no such scheme.
    """
    if keys not in SCHEMES:
        raise UsageError(f"There is no key scheme {keys!r}.", f"Known: {', '.join(filter(None, SCHEMES))}.")
    return SCHEMES[keys](tensors, trunk)
