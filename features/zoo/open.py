"""Cards of encoders whose weights anyone can fetch. Settings as published; see `facts` of each."""

from __future__ import annotations

from ..card import EncoderCard
from .gated import IMAGENET

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
LUNIT = {"mean": (0.70322989, 0.53606487, 0.66096631), "std": (0.21716536, 0.26081574, 0.20723464)}
UNCONFIRMED = "unconfirmed, see its page"


def _open(name: str, repo: str, licence: str, dim: int, **settings: object) -> EncoderCard:
    """A card of a public `model.safetensors`: 224 px, class token, 0.5 µm, unless told otherwise."""
    usual: dict[str, object] = {
        "source": f"hf:{repo}",
        "input_px": 224,
        "resize": 224,
        "pooling": "cls",
        "prefix_tokens": 1,
        "spacings": (0.5,),
        "file": "model.safetensors",
    }
    return EncoderCard.from_dict(
        usual
        | {"name": name, "revision": "", "sha256": "", "licence": licence, "gated": False, "dim": dim}
        | settings
    )


def _kaiko(name: str, model: str, dim: int, **settings: object) -> EncoderCard:
    """One of the Kaiko models, in the names of timm."""
    return _open(
        name,
        f"1aurent/{model}.kaiko_ai_towards_large_pathology_fms",
        UNCONFIRMED,
        dim,
        **HALF,
        patch_px=256,
        architecture=f"timm:{model}",
        **({"arguments": {"img_size": 224}} | settings),
        facts="Aben et al. 2024; weights as converted for timm. Sources differ on the licence.",
    )


OPEN = (
    _open(
        "phikon",
        "owkin/phikon",
        "Owkin non-commercial",
        768,
        **IMAGENET,
        file="pytorch_model.bin",
        architecture="timm:vit_base_patch16_224",
        arguments={"norm_eps": 1e-12},
        keys="transformers",
        facts="Filiot et al. 2023; settings as in the model card and its preprocessor.",
    ),
    _open(
        "phikon-v2",
        "owkin/phikon-v2",
        "Owkin non-commercial",
        1024,
        **IMAGENET,
        interpolation="bicubic",
        architecture="timm:vit_large_patch16_224",
        arguments={"init_values": 1.0},
        keys="transformers",
        facts="Filiot et al. 2024; settings as in the model card, which takes 224 px.",
    ),
    _kaiko("kaiko-vits8", "vit_small_patch8_224", 384),
    _kaiko("kaiko-vits16", "vit_small_patch16_224", 384),
    _kaiko("kaiko-vitb8", "vit_base_patch8_224", 768),
    _kaiko("kaiko-vitb16", "vit_base_patch16_224", 768),
    _kaiko(
        "kaiko-vitl14",
        "vit_large_patch14_reg4_dinov2",
        1024,
        prefix_tokens=5,
        arguments={"img_size": 518, "dynamic_img_size": True},
    ),
    _open(
        "midnight-12k",
        "kaiko-ai/midnight",
        "MIT",
        3072,
        **HALF,
        pooling="cls+mean",
        spacings=(0.5, 0.25, 1.0, 2.0),
        architecture="timm:vit_giant_patch14_dinov2",
        arguments={"img_size": 224},
        keys="transformers",
        facts="Karasikov et al. 2025; settings as in the model card: class token, then mean of patches.",
    ),
    _open(
        "gpfm",
        "majiabo/GPFM",
        "MIT or CC-BY-NC-ND-4.0: sources differ, see its page",
        1024,
        **IMAGENET,
        interpolation="bicubic",
        file="GPFM.pth",
        architecture="timm:vit_large_patch14_dinov2",
        arguments={"img_size": 224, "init_values": 1e-5},
        facts="Ma et al. 2025; settings as in the authors' code.",
    ),
    _open(
        "lunit-dino-s8",
        "1aurent/vit_small_patch8_224.lunit_dino",
        "unconfirmed, non-commercial in some sources",
        384,
        **LUNIT,
        interpolation="bicubic",
        architecture="timm:vit_small_patch8_224",
        facts="Kang et al. 2023; weights as converted for timm. It takes 224 px; no interpolation is stated.",
    ),
    _open(
        "ctranspath",
        "MahmoodLab/hest-bench",
        "GPL-3.0",
        768,
        **IMAGENET,
        source="hf-dataset:MahmoodLab/hest-bench",
        pooling="mean",
        prefix_tokens=0,
        patch_px=256,
        spacings=(1.0,),
        file="fm_v1/ctranspath/CHIEF_CTransPath.pth",
        architecture="ctranspath",
        keys="ctranspath",
        facts="Wang et al. 2022, weights as in CHIEF (Wang et al. 2024): a Swin-tiny whose patches come from "
        "convolutions.",
    ),
    _open(
        "dinov2-vitb14",
        "timm/vit_base_patch14_dinov2.lvd142m",
        "Apache-2.0",
        768,
        **IMAGENET,
        interpolation="bicubic",
        spacings=(),
        architecture="timm:vit_base_patch14_dinov2",
        arguments={"img_size": 518, "dynamic_img_size": True},
        facts="Oquab et al. 2023; natural images, for comparison. Positions are resampled for 224 px.",
    ),
    _open(
        "resnet50",
        "timm/resnet50.tv_in1k",
        "BSD-3-Clause",
        1024,
        **IMAGENET,
        pooling="mean",
        prefix_tokens=0,
        patch_px=256,
        spacings=(),
        architecture="resnet50-layer3",
        facts="He et al. 2016; natural images, for comparison. The third stage, averaged, as in CLAM.",
    ),
)
