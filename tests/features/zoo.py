"""What the tests of foundation models share: published files with random weights, and no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from slidestream.features.card import EncoderCard
from slidestream.features.zoo.registry import zoo
from slidestream.features.zoo.weights import weights_path


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and running statistic drawn anew, so that none can be lost unnoticed.

    A model on the meta device is brought to memory first: that spares its own initialisation.
    """
    if any(tensor.is_meta for tensor in model.parameters()):
        model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator) * 0.05
                away = 1.0 if tensor.ndim == 1 and not name.endswith(("bias", "mean")) else 0.0
                tensor.copy_(drawn.abs() + away if "running_var" in name else drawn + away)
    return model.eval()


def save(tensors: dict[str, torch.Tensor], path: Path, nested: str = "") -> None:
    """Tensors as the format that the file's name says, in a table of that name where one is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({nested: tensors} if nested else tensors, path)


def published_transform(card: EncoderCard) -> Callable[[Image.Image], torch.Tensor]:
    """The card's transform in torchvision, on Pillow pictures."""
    how = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}[card.interpolation]
    steps: Any = transforms.Compose(
        [
            transforms.Resize(card.resize, interpolation=how),
            transforms.CenterCrop(card.input_px),
            transforms.ToTensor(),
            transforms.Normalize(card.mean, card.std),
        ]
    )
    return steps  # type: ignore[no-any-return]


def patches(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise on blocks of colour, uint8 (count, side, side, 3): every frequency a resize can get wrong."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, side // 16 + 1, side // 16 + 1, 3))
    coarse = blocks.repeat(16, 1).repeat(16, 2)[:, :side, :side]
    return (coarse + rng.integers(-60, 60, (count, side, side, 3))).clip(0, 255).astype(np.uint8)


def transformed(card: EncoderCard, pixels: NDArray[np.uint8]) -> torch.Tensor:
    """`published_transform` of each patch, as one batch."""
    steps = published_transform(card)
    return torch.stack([steps(Image.fromarray(patch)) for patch in pixels])


def offer(monkeypatch: Any, card: EncoderCard, folder: Path, **arguments: Any) -> EncoderCard:
    """Put the card, with these arguments changed, into the zoo, and its weights' place into `folder`."""
    monkeypatch.setenv("SLIDESTREAM_WEIGHTS", str(folder))
    changed = replace(card, arguments=card.arguments | arguments)
    monkeypatch.setitem(zoo(), card.name, changed)
    return changed


def tiny(monkeypatch: Any, folder: Path, name: str = "lunit-dino-s8") -> tuple[EncoderCard, nn.Module]:
    """A card of a one-block ViT of 32 px, its weights in `folder`, and the network they came from."""
    small = {"depth": 1, "embed_dim": 48, "num_heads": 3, "img_size": 32}
    card = replace(zoo()[name], dim=48, input_px=32, resize=32, patch_px=32)
    card = offer(monkeypatch, card, folder, **small)
    from slidestream.features.zoo.architectures import build_with_values

    network = randomise(build_with_values(card))
    save(network.state_dict(), weights_path(card))
    return card, network
