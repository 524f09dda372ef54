"""What a GPU would do, on devices that only pretend: order, memory, and that nothing waits too early."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from slidestream.cohort import process
from slidestream.cohort.config import Execution, RunConfig
from slidestream.cohort.inputs import Input
from slidestream.cohort.job import Job
from slidestream.features import device as module
from slidestream.features.card import EncoderCard
from slidestream.features.device import Cuda, Here, Waiting, device_of, pinned
from slidestream.features.embedder import ON_CPU, Embedder
from slidestream.features.encoder import Encoder, best_precision, known_card, load_encoder
from slidestream.features.store import open_store
from slidestream.features.zoo.preprocess import Preprocess
from slidestream.tiling.spec import PatchSpec

from .zoo import patches, tiny

CARD = EncoderCard("mean", "test", "1", "", "none", False, dim=3, input_px=8)


class MeanColour(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pixels))
        return pixels.float().mean((2, 3))


class Pretended:
    """A device whose results are there only when they are waited for; every step is noted."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        self.steps: list[str] = []
        self._count = 0

    def upload(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        self._count += 1
        self.steps.append(f"upload {self._count}")
        return torch.from_numpy(pixels.copy())

    def fetch(self, embeddings: torch.Tensor) -> Callable[[], NDArray[np.float32]]:
        number = self._count

        def given() -> NDArray[np.float32]:
            self.steps.append(f"wait {number}")
            return embeddings.numpy()

        return given

    def free(self) -> None:
        self.steps.append("free")


def test_pixels_may_change_when_begin_returns() -> None:
    pixels = np.full((4, 8, 8, 3), 7, np.uint8)
    given = Embedder(Encoder(CARD, MeanColour()), "cpu", transfers=Pretended(1)).begin(pixels)
    pixels[:] = 0
    assert (given() == 7).all()


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_run_computes_ahead_of_what_it_writes(
    ahead: int,
    tmp_path: Path,
    write_slide: Callable[..., Path],
    tissue_pixels: Callable[..., Any],
    mean_encoder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slide = write_slide(tmp_path / "a.tiff", tissue_pixels(700), 0.5)
    config = RunConfig(mean_encoder, PatchSpec(64, 1.0, min_tissue=0.0))
    job = Job(Input("a", str(slide)), config, tmp_path / "usual", Execution(batch_size=10))
    assert process.process(job).status == "done"
    device = Pretended(ahead)
    embedder = Embedder(load_encoder(mean_encoder), "cpu", transfers=device)
    monkeypatch.setattr(process, "cached_embedder", lambda *_: embedder)
    assert process.process(replace(job, run=tmp_path / "run")).patches == 25
    expected = {
        0: ["upload 1", "wait 1", "upload 2", "wait 2", "upload 3", "wait 3"],
        1: ["upload 1", "upload 2", "wait 1", "upload 3", "wait 2", "wait 3"],
    }
    assert device.steps == expected[ahead]
    usual, ours = (open_store(tmp_path / run / "embeddings/a.zarr") for run in ("usual", "run"))
    np.testing.assert_array_equal(ours.features(), usual.features())


def test_a_network_takes_few_patches_at_once_on_a_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(monkeypatch, tmp_path)
    encoder = load_encoder("lunit-dino-s8")
    seen: list[int] = []
    encoder.module.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    Embedder(encoder, "cpu")(patches(ON_CPU + 3, 32))
    assert seen == [ON_CPU, 3]
    descriptors = MeanColour()
    Embedder(Encoder(CARD, descriptors), "cpu")(np.zeros((ON_CPU + 3, 8, 8, 3), np.uint8))
    assert descriptors.sizes == [ON_CPU + 3]


def test_attention_is_fused_and_pixels_keep_their_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, _ = tiny(monkeypatch, tmp_path)
    encoder = load_encoder(card.name)
    calls: list[int] = []
    fused = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k))
    pixels = torch.from_numpy(patches(2, 32))
    prepared: list[torch.Tensor] = []
    encoder.module.preprocess.register_forward_hook(lambda *given: prepared.append(given[2]))
    Embedder(encoder, "cpu").on_device(pixels)
    assert len(calls) == 1, "one block, one fused attention"
    assert prepared[0].is_contiguous(memory_format=torch.channels_last)
    convolutions = [p for p in encoder.module.parameters() if p.ndim == 4]
    assert convolutions
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)


def test_pixels_without_a_resize_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uint8 to float32, and the rest in place: one tensor as large as the batch is made, and no other."""
    card, _ = tiny(monkeypatch, tmp_path)
    preprocess = Preprocess(card)
    pixels = torch.from_numpy(patches(4, 32)).permute(0, 3, 1, 2)
    from torch.utils._python_dispatch import TorchDispatchMode

    made: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = function(*args, **(kwargs or {}))
            old = {a.data_ptr() for a in args if isinstance(a, torch.Tensor)}
            if isinstance(out, torch.Tensor) and out.data_ptr() not in old:
                made.append(out.numel())
            return out

    with Watch():
        preprocess(pixels)
    assert made == [pixels.numel()]


class _Stream:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def synchronize(self) -> None:
        self.log.append(f"{self.name} waits")

    def __enter__(self) -> None:
        self.log.append(f"on {self.name}")

    def __exit__(self, *_: object) -> None:
        self.log.append("off")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of torch.cuda, which is made up."""
    log: list[str] = []
    runtime = SimpleNamespace(
        cudaHostRegister=lambda at, size, flags: log.append(f"register {size}") or 0,
        cudaHostUnregister=lambda at: log.append("unregister"),
    )
    event = SimpleNamespace(
        record=lambda stream: log.append(f"mark on {stream.name}"),
        synchronize=lambda: log.append("wait for mark"),
    )
    fake = SimpleNamespace(
        Stream=lambda _: _Stream(log, "copies"),
        stream=lambda stream: stream,
        current_stream=lambda _: _Stream(log, "compute"),
        Event=lambda: event,
        empty_cache=lambda: log.append("free"),
        cudart=lambda: runtime,
        device=lambda _: nullcontext(),
    )
    monkeypatch.setattr(module.torch, "cuda", fake)
    return log


def test_a_gpu_copies_on_a_stream_of_its_own(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, to = np.zeros((2, 8, 8, 3), np.uint8), torch.Tensor.to
    asked: list[Any] = []

    def moved(tensor: torch.Tensor, *_: Any, **how: Any) -> torch.Tensor:
        asked.append((tensor.data_ptr() == pixels.ctypes.data, how))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", moved)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: log.append("kept"))
    device = Cuda("cuda:1")
    on_device = device.upload(pixels)
    monkeypatch.setattr(torch.Tensor, "to", to)
    assert asked == [(True, {"non_blocking": True})], "straight from the memory that was given"
    assert log == ["on copies", "off", "copies waits", "kept"]
    assert on_device.shape == (2, 8, 8, 3)
    log.clear()
    held: list[Any] = []
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda s, dtype, pin_memory: held.append(pin_memory) or empty(s))
    given = device.fetch(torch.ones(2, 3))
    assert log == ["mark on compute"], "begun, and not waited for"
    assert (given() == 1).all()
    assert log[-1] == "wait for mark"
    assert held == [True]
    assert device.ahead == 1


def test_memory_is_pinned_while_it_is_used(log: list[str]) -> None:
    memory = np.zeros(4096, np.uint8)
    with pinned(memory, "cuda:0") as held:
        assert held
        assert log == ["register 4096"]
    assert log == ["register 4096", "unregister"]
    with pinned(memory, "cpu") as held:
        assert not held
    assert len(log) == 2


def test_memory_that_cannot_be_pinned_is_used_as_it_is(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = SimpleNamespace(cudaHostRegister=lambda *_: 1, cudaHostUnregister=lambda _: log.append("no"))
    monkeypatch.setattr(module.torch.cuda, "cudart", lambda: refusing)
    with pinned(np.zeros(8, np.uint8), "cuda") as held:
        assert not held
    assert log == []


def test_which_device(log: list[str]) -> None:
    assert isinstance(device_of("cuda:0"), Cuda)
    assert type(device_of("cpu")) is Here
    assert isinstance(device_of("mps"), Waiting)
    waiting = Waiting("cpu")
    pixels = np.ones((1, 2, 2, 3), np.uint8)
    assert (waiting.fetch(waiting.upload(pixels).float())() == 1).all()


@pytest.mark.parametrize(
    ("device", "bf16", "processor", "expected"),
    [
        ("cuda:0,cuda:1", True, {}, "bf16"),
        ("cuda", False, {}, "fp16"),
        ("cpu", True, {"avx512_bf16": True}, "bf16"),
        ("cpu", True, {"amx_bf16": True, "avx512_bf16": False}, "bf16"),
        ("cpu", True, {"avx512_f": True}, "fp32"),
    ],
)
def test_the_precision_that_a_device_has(
    device: str, bf16: bool, processor: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "empty", lambda size, device: None)  # as if it were there
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    assert best_precision(known_card("uni"), device) == expected
    assert best_precision(known_card("texture"), device) == "fp32", "counts are not made in halves"


def test_the_precision_that_was_found_is_written_down(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_slide: Any, tissue_pixels: Any
) -> None:
    tiny(monkeypatch, tmp_path)
    slide = write_slide(tmp_path / "a.tiff", tissue_pixels(600), 0.5)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    command = ("plan", slide, "-o", tmp_path / "run", "--encoder", "lunit-dino-s8", "--mpp", "0.5", "--json")
    assert '"precision": "bf16"' in cli(*command, "--precision", "auto").out
    assert '"precision": "fp32"' in cli(*command).out
