"""The contract of the encoder texture: shape, names, and what an embedding must not depend on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from slidestream.errors import UsageError
from slidestream.features.encoder import load_encoder
from slidestream.features.slicewise import SLICE, slicewise
from slidestream.features.texture import CARD, Texture, feature_names
from slidestream.stain.hed import combine

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def tissue(count: int, side: int = 96, seed: int = 0) -> torch.Tensor:
    """Patches (count, 3, side, side) of blurred noise in both stains, with nuclei as blobs of other sizes."""
    rng = np.random.default_rng(seed)
    at = np.arange(side)
    stains = np.zeros((count, 3, side, side))
    stains[:, 1] = 0.15 + 0.03 * rng.standard_normal((count, side, side))
    for patch in stains:
        for _ in range(20):
            (y, x), radius = rng.uniform(0, side, 2), rng.uniform(2.5, 8)
            disc = (at[:, None] - y) ** 2 + (at - x) ** 2 < radius**2
            patch[0][disc] = rng.uniform(0.3, 0.8) + 0.05 * rng.standard_normal(disc.sum())
    return combine(torch.from_numpy(stains))


@pytest.fixture(scope="module")
def texture() -> Texture:
    return Texture().eval()


def test_names_card_and_output_agree(texture: Texture) -> None:
    names = feature_names()
    out = texture(tissue(2))
    assert len(names) == len(set(names)) == CARD.dim
    assert out.shape == (2, CARD.dim)
    assert out.dtype == torch.float32


def test_registry_builds_it() -> None:
    assert load_encoder("texture")(tissue(1)).shape == (1, CARD.dim)


@pytest.mark.parametrize("shape", [(64, 64), (96, 96), (224, 224), (75, 101)])
def test_any_size_from_64_px(texture: Texture, shape: tuple[int, int]) -> None:
    pixels = torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8)
    assert texture(pixels).isfinite().all()


def test_smaller_is_refused(texture: Texture) -> None:
    with pytest.raises(UsageError, match="63 x 64 px"):
        texture(torch.zeros(1, 3, 64, 63, dtype=torch.uint8))


def test_no_patches_give_no_rows(texture: Texture) -> None:
    assert texture(torch.zeros(0, 3, 64, 64, dtype=torch.uint8)).shape == (0, CARD.dim)


def extremes() -> dict[str, torch.Tensor]:
    half = torch.zeros(3, 96, 96, dtype=torch.uint8)
    half[:, :48] = 255
    checker = ((torch.arange(96)[:, None] + torch.arange(96)) % 2 * 255).to(torch.uint8).expand(3, -1, -1)
    one = torch.full((3, 96, 96), 255, dtype=torch.uint8)
    one[:, 50, 50] = 0
    noise = torch.randint(0, 256, (3, 96, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    flat = {f"grey {v}": torch.full((3, 96, 96), v, dtype=torch.uint8) for v in (0, 1, 127, 254, 255)}
    return {**flat, "half": half, "checker": checker, "one black pixel": one, "noise": noise}


@pytest.mark.parametrize("name", list(extremes()))
def test_extreme_patches_stay_finite_and_of_order_one(texture: Texture, name: str) -> None:
    out = texture(extremes()[name][None])
    assert out.isfinite().all()
    assert out.abs().max() < 15


def test_a_blank_patch_has_no_nuclei_and_no_texture(texture: Texture) -> None:
    row = dict(zip(feature_names(), texture(extremes()["grey 255"][None])[0].tolist(), strict=True))
    assert row["colour.background"] == 1
    silent = [
        name
        for name in row
        if name.startswith(("nuclei.area", "nuclei.inside", "blobs.", "oriented.", "structure."))
    ]
    assert max(abs(row[name]) for name in silent) < 1e-3


def test_runs_are_identical(texture: Texture) -> None:
    pixels = tissue(5)
    assert torch.equal(texture(pixels), texture(pixels))


def test_batch_size_and_order_do_not_matter(texture: Texture) -> None:
    pixels = tissue(2 * SLICE + 7)
    whole = texture(pixels)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(texture(pixels[order]), whole[order], **CLOSE)
    torch.testing.assert_close(torch.cat([texture(p[None]) for p in pixels[:7]]), whole[:7], **CLOSE)
    torch.testing.assert_close(texture(pixels[:7]), whole[:7], **CLOSE)


def test_memory_layout_does_not_matter(texture: Texture) -> None:
    pixels = tissue(2)
    view = pixels.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    torch.testing.assert_close(texture(view), texture(pixels), **CLOSE)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_quarter_turns_do_not_matter(texture: Texture, turn: int) -> None:
    pixels = tissue(3, side=224)
    torch.testing.assert_close(texture(pixels.rot90(turn, (2, 3))), texture(pixels), rtol=1e-3, atol=1e-3)


def test_mirroring_does_not_matter(texture: Texture) -> None:
    pixels = tissue(3, side=224)
    torch.testing.assert_close(texture(pixels.flip(3)), texture(pixels), rtol=1e-3, atol=1e-3)


def test_it_works_in_and_out_of_inference_mode() -> None:
    pixels = tissue(1)
    with torch.inference_mode():
        inside = Texture()(pixels)
    torch.testing.assert_close(Texture()(pixels), inside, **CLOSE)


def test_threads_do_not_matter_and_keep_their_number(texture: Texture) -> None:
    pixels, before = tissue(2 * SLICE + 1), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = texture(pixels)
        torch.set_num_threads(3)
        together = texture(pixels)
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(together, alone, **CLOSE)


def test_an_error_in_one_slice_is_raised() -> None:
    def refuse(part: torch.Tensor) -> torch.Tensor:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        slicewise(refuse, torch.zeros(3 * SLICE, 1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_agrees_with_the_cpu(texture: Texture) -> None:
    pixels = tissue(8, side=224)
    # Convolutions run in TF32 there by default: ten bits of mantissa.
    torch.testing.assert_close(texture(pixels.cuda()).cpu(), texture(pixels), rtol=5e-3, atol=5e-3)
