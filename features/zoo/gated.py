"""Cards of encoders whose weights must be asked for. Settings as published; see `facts` of each."""

from __future__ import annotations

from ..card import EncoderCard

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
BIOPTIMUS = {"mean": (0.707223, 0.578729, 0.703617), "std": (0.211883, 0.230117, 0.177517)}
HIBOU = {"mean": (0.7068, 0.5755, 0.722), "std": (0.195, 0.2316, 0.1816)}
SWIGLU = {"mlp_layer": "swiglu_packed", "act_layer": "silu"}
NO_DERIVATIVES = "CC-BY-NC-ND-4.0"


def _gated(name: str, repo: str, licence: str, dim: int, **settings: object) -> EncoderCard:
    """A card of a gated `pytorch_model.bin`: 224 px, class token, 0.5 µm, unless told otherwise."""
    usual: dict[str, object] = {
        "input_px": 224,
        "resize": 224,
        "pooling": "cls",
        "prefix_tokens": 1,
        "spacings": (0.5,),
        "file": "pytorch_model.bin",
    }
    return EncoderCard.from_dict(
        usual
        | {"name": name, "source": f"hf:{repo}", "revision": "", "sha256": ""}
        | {"licence": licence, "gated": True, "dim": dim}
        | settings
    )


GATED = (
    _gated(
        "uni",
        "MahmoodLab/UNI",
        NO_DERIVATIVES,
        1024,
        **IMAGENET,
        patch_px=256,
        architecture="timm:vit_large_patch16_224",
        arguments={"init_values": 1e-5},
        facts="Chen et al. 2024; settings as in the model card.",
    ),
    _gated(
        "uni2-h",
        "MahmoodLab/UNI2-h",
        NO_DERIVATIVES,
        1536,
        **IMAGENET,
        patch_px=256,
        prefix_tokens=9,
        architecture="timm:vit_giant_patch14_224",
        arguments={
            "img_size": 224,
            "patch_size": 14,
            "depth": 24,
            "num_heads": 24,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "init_values": 1e-5,
            "reg_tokens": 8,
            "no_embed_class": True,
            **SWIGLU,
        },
        facts="Chen et al. 2024; settings as in the model card.",
    ),
    _gated(
        "conch-v1.5",
        "MahmoodLab/conchv1_5",
        NO_DERIVATIVES,
        768,
        **IMAGENET,
        input_px=448,
        resize=448,
        patch_px=512,
        pooling="model",
        file="pytorch_model_vision.bin",
        architecture="conch-v1.5",
        facts="Ding et al. 2024 (TITAN); image tower and attention pooling, as published.",
    ),
    _gated(
        "virchow",
        "paige-ai/Virchow",
        "Apache-2.0",
        2560,
        **IMAGENET,
        interpolation="bicubic",
        pooling="cls+mean",
        architecture="timm:vit_huge_patch14_224",
        arguments={"img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, **SWIGLU},
        facts="Vorontsov et al. 2024; settings as in the model card.",
    ),
    _gated(
        "virchow2",
        "paige-ai/Virchow2",
        NO_DERIVATIVES,
        2560,
        **IMAGENET,
        interpolation="bicubic",
        pooling="cls+mean",
        prefix_tokens=5,
        spacings=(0.5, 0.25, 1.0, 2.0),
        architecture="timm:vit_huge_patch14_224",
        arguments={"img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, "reg_tokens": 4, **SWIGLU},
        facts="Zimmermann et al. 2024; settings as in the model card: tokens 1 to 4 are registers, left out.",
    ),
    _gated(
        "gigapath",
        "prov-gigapath/prov-gigapath",
        "Apache-2.0",
        1536,
        **IMAGENET,
        resize=256,
        interpolation="bicubic",
        patch_px=256,
        architecture="timm:vit_giant_patch14_dinov2",
        arguments={"img_size": 224, "patch_size": 16, "init_values": 1e-5},
        facts="Xu et al. 2024; settings as in the model card. Patches of the network are 16 px, whatever the "
        "architecture's name says; timm's own configuration lacks the resize to 256.",
    ),
    _gated(
        "h-optimus-0",
        "bioptimus/H-optimus-0",
        "Apache-2.0",
        1536,
        **BIOPTIMUS,
        interpolation="bicubic",
        prefix_tokens=5,
        architecture="timm:vit_giant_patch14_reg4_dinov2",
        arguments={"img_size": 224, "init_values": 1e-5},
        facts="Settings as in the model card, which takes 224 px and names no interpolation.",
    ),
    _gated(
        "h-optimus-1",
        "bioptimus/H-optimus-1",
        NO_DERIVATIVES,
        1536,
        **BIOPTIMUS,
        interpolation="bicubic",
        prefix_tokens=5,
        architecture="timm:vit_giant_patch14_reg4_dinov2",
        arguments={"img_size": 224, "init_values": 1e-5},
        facts="Settings as in the model card, which takes 224 px and names no interpolation.",
    ),
    *(
        _gated(
            name,
            "bioptimus/H0-mini",
            NO_DERIVATIVES,
            dim,
            **BIOPTIMUS,
            interpolation="bicubic",
            pooling=pooling,
            prefix_tokens=5,
            file="model.safetensors",
            architecture="timm:vit_base_patch14_reg4_dinov2",
            arguments={"img_size": 224, "mlp_ratio": 2.66667 * 2, **SWIGLU},
            facts="Filiot et al. 2025; the model card offers the class token alone, or with the mean of "
            "the patch tokens. The width of its perceptrons is that of 86 million parameters.",
        )
        for name, dim, pooling in (("h0-mini", 768, "cls"), ("h0-mini-cls-mean", 1536, "cls+mean"))
    ),
    _gated(
        "hibou-b",
        "histai/hibou-b",
        "Apache-2.0",
        768,
        **HIBOU,
        interpolation="bicubic",
        prefix_tokens=5,
        file="model.safetensors",
        architecture="timm:vit_base_patch14_reg4_dinov2",
        arguments={"img_size": 224, "mlp_ratio": 4096 / 768, **SWIGLU},
        keys="transformers",
        facts="Nechaev et al. 2024; settings as in the model card and its preprocessor.",
    ),
    _gated(
        "hibou-l",
        "histai/hibou-L",
        "Apache-2.0",
        1024,
        **HIBOU,
        interpolation="bicubic",
        prefix_tokens=5,
        file="model.safetensors",
        architecture="timm:vit_large_patch14_reg4_dinov2",
        arguments={"img_size": 224, "mlp_ratio": 5472 / 1024, **SWIGLU},
        keys="transformers",
        facts="Nechaev et al. 2024; settings as in the model card and its preprocessor.",
    ),
)
