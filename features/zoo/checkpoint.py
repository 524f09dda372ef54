"""Tensors from a weights file, and nothing else: no code is ever run from it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ...errors import EnvironmentProblem
from ..card import EncoderCard
from .renaming import renamed

WRAPPERS = ("model", "state_dict", "teacher")
"""What published files nest their tensors in."""


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a safetensors file, or of a torch file that holds nothing but tensors, in float32.

    Raises:
        EnvironmentProblem: it is neither.
    """
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _torch_file(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise EnvironmentProblem(
            f"{path} is no weights file: it is damaged, or holds more than tensors.",
            "Fetch it again, or convert it to safetensors where you trust it.",
        ) from error
    return {name: t.float() if t.is_floating_point() else t for name, t in found.items()}


def _torch_file(path: Path) -> Mapping[str, torch.Tensor]:
    found: Any = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ValueError("no table of tensors")
    return found


def fill(trunk: nn.Module, path: Path, card: EncoderCard) -> nn.Module:
    """The trunk with the file's tensors: every one must be there, and none may be left over.

    Raises:
        EnvironmentProblem: the file is not of this architecture; the first keys that differ are named.
    """
    needed = trunk.state_dict()
    # How many batches training has seen; inference never asks, and some files leave it out.
    counters = {name: torch.tensor(0) for name in needed if name.endswith(".num_batches_tracked")}
    tensors = counters | renamed(read_tensors(path), card.keys, trunk)
    problems = [
        *(f"{name} is missing" for name in needed if name not in tensors),
        *(f"{name} is left over" for name in tensors if name not in needed),
        *(
            f"{name} is {tuple(tensors[name].shape)}, not {tuple(value.shape)}"
            for name, value in needed.items()
            if name in tensors and tensors[name].shape != value.shape
        ),
    ]
    if problems:
        raise EnvironmentProblem(
            f"{path.name} does not fit encoder {card.name}: {'; '.join(problems[:3])}"
            f"{f' and {len(problems) - 3} more' if len(problems) > 3 else ''}.",
            "Check architecture, arguments and keys of the card, or the file.",
        )
    trunk.load_state_dict(tensors, assign=True)
    return trunk
