"""Whether a head is trained in bfloat16: where the hardware multiplies it, and the head was measured safe."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from .heads import Head
from .spec import TrainSpec

FLAGS = ("avx512_bf16", "amx_bf16")
"""What torch calls the instructions that multiply bfloat16."""


def in_bfloat16(spec: TrainSpec, head: Head) -> bool:
    """Whether training steps multiply in bfloat16; sums, losses and weights stay float32."""
    if spec.precision == "auto":
        return head.takes_bfloat16 and multiplies_bfloat16(torch.device(spec.device))
    return spec.precision == "bfloat16"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster there than float32; emulated, it is much slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch do not say: float32 is never wrong.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(capabilities.get(flag) for flag in FLAGS)


def stepping(spec: TrainSpec, head: Head) -> AbstractContextManager[None]:
    """Around the forward pass and the loss of a training step."""
    return torch.autocast(torch.device(spec.device).type, torch.bfloat16, enabled=in_bfloat16(spec, head))
