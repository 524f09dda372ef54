"""Each group of the texture descriptor against an independent implementation or a picture of known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from skimage.color import rgb2hed
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.filters import threshold_otsu

from slidestream.features import (
    texture_blobs,
    texture_colour,
    texture_cooccurrence,
    texture_lbp,
    texture_nuclei,
    texture_oriented,
    texture_structure,
)
from slidestream.features.texture_histogram import histogram, otsu, quantiles
from slidestream.features.texture_planes import Planes, planes_of
from slidestream.stain.hed import combine


def noise(side: int = 96) -> torch.Tensor:
    """Smooth noise, so that neighbours agree: uint8 (2, 3, side, side)."""
    coarse = torch.randint(40, 250, (2, 3, side // 4, side // 4), generator=torch.Generator().manual_seed(1))
    size = (side, side)
    return torch.nn.functional.interpolate(coarse.float(), size, mode="bilinear").round().to(torch.uint8)


def discs(radius: float, pitch: int = 40, strength: float = 0.6, side: int = 240) -> torch.Tensor:
    """One patch with discs of hematoxylin on pale eosin, in a lattice of (side / pitch) squared."""
    at = (torch.arange(side) % pitch) - (pitch - 1) / 2 + 0.25
    stains = torch.zeros(1, 3, side, side)
    stains[:, 1] = 0.1
    stains[:, 0] = strength * (at[:, None].square() + at.square() < radius**2)
    return combine(stains)


def columns(names: tuple[str, ...], values: torch.Tensor) -> dict[str, float]:
    return dict(zip(names, values[0].tolist(), strict=True))


def grating(wavelength: float, angle: float, amplitude: float = 0.2, side: int = 224) -> torch.Tensor:
    """(1, 1, side, side) around 0.5."""
    at = torch.arange(side, dtype=torch.float64)
    phase = 2 * math.pi / wavelength * (math.cos(angle) * at + math.sin(angle) * at[:, None])
    return (0.5 + amplitude * torch.cos(phase)).float()[None, None]


def grey_planes(luminance: torch.Tensor) -> Planes:
    blank = torch.zeros_like(luminance)
    return Planes(blank.expand(-1, 3, -1, -1), luminance, blank)


# --- colour


def expected_planes(pixels: torch.Tensor) -> NDArray[np.float64]:
    rgb = pixels.permute(0, 2, 3, 1).numpy()
    high, low = rgb.max(-1).astype(float), rgb.min(-1).astype(float)
    luma = np.round(rgb @ np.array([0.299, 0.587, 0.114])) / 255
    planes = [*np.moveaxis(6 * rgb2hed(rgb), -1, 0), luma, (high - low) / np.maximum(high, 1)]
    return np.stack(planes, 1).reshape(len(rgb), 5, -1)


def test_moments_and_quantiles_are_those_of_scipy() -> None:
    pixels = combine(torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(2)) * 0.6 + 0.05)
    ours = columns(texture_colour.NAMES, texture_colour.colour(planes_of(pixels)))
    for name, values in zip(texture_colour.RANGES, expected_planes(pixels)[0], strict=True):
        moments = [values.mean(), values.std(), stats.skew(values), stats.kurtosis(values)]
        moments[2:] = [np.sign(m) * np.log1p(abs(m)) for m in moments[2:]]
        for moment, value in zip(texture_colour.MOMENTS, moments, strict=True):
            assert ours[f"colour.{name}.{moment}"] == pytest.approx(value, abs=2e-3), (name, moment)
        low, high = texture_colour.RANGES[name]
        for level in texture_colour.LEVELS:
            found = ours[f"colour.{name}.q{round(100 * level):02d}"]
            assert found == pytest.approx(np.quantile(values, level), abs=(high - low) / texture_colour.BINS)


def test_correlation_is_pearsons() -> None:
    pixels = noise()
    ours = columns(texture_colour.NAMES, texture_colour.colour(planes_of(pixels)))
    planes = planes_of(pixels)
    theirs = np.corrcoef(planes.hematoxylin[0].flatten(), planes.eosin[0].flatten())[0, 1]
    assert ours["colour.correlation.hematoxylin.eosin"] == pytest.approx(theirs, abs=1e-4)


def test_quantiles_are_linear_inside_a_bin() -> None:
    fractions = torch.tensor([[0.0, 0.5, 0.0, 0.5]])
    assert quantiles(fractions, (0.25, 0.75))[0].tolist() == [1.5, 3.5]


def test_otsu_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    values = (
        np.concatenate([rng.normal(60, 10, 3000), rng.normal(150, 25, 1000)]).clip(0, 255).astype(np.uint8)
    )
    threshold, separability = otsu(histogram(torch.from_numpy(values)[None], 256))
    assert threshold.item() == pytest.approx(threshold_otsu(values) + 1), "ours is the upper edge of the bin"
    assert 0.8 < separability.item() < 1


# --- patterns


@pytest.mark.parametrize("radius", [1, 2])
def test_patterns_are_those_of_scikit_image(radius: int) -> None:
    image = planes_of(noise())
    grey = (image.luminance[0, 0] * 255).round().numpy().astype(np.uint8)
    theirs = local_binary_pattern(grey, 8, radius, method="uniform")[radius:-radius, radius:-radius]
    expected = np.bincount(theirs.astype(int).ravel(), minlength=10) / theirs.size
    ours = texture_lbp.pattern_fractions(image.luminance[:1, 0], radius)[0]
    # Interpolated neighbours that tie with the centre fall to either side: a rounding of the last bit.
    np.testing.assert_allclose(ours, expected, atol=0.01)


def test_a_flat_picture_is_all_ones() -> None:
    assert texture_lbp.pattern_fractions(torch.full((1, 64, 64), 0.3), 2)[0, 8] == 1


def test_cooccurrence_is_that_of_scikit_image() -> None:
    levels = torch.randint(0, 16, (1, 1, 48, 48), generator=torch.Generator().manual_seed(3)).sort(-1).values
    angles = [0, math.pi / 4, math.pi / 2, 3 * math.pi / 4]
    counts = graycomatrix(levels[0, 0].numpy().astype(np.uint8), [1], angles, levels=16, symmetric=True)
    matrix = counts.sum(-1, keepdims=True) / counts.sum()
    ours = texture_cooccurrence.joint_fractions(levels, 1)
    np.testing.assert_allclose(ours[0, 0], matrix[:, :, 0, 0], atol=1e-6)
    found = texture_cooccurrence.joint_statistics(ours)[0].tolist()
    expected = [graycoprops(matrix, p).item() for p in ("contrast", "correlation", "homogeneity", "energy")]
    assert found[:4] == pytest.approx([math.log1p(expected[0]), *expected[1:]], abs=1e-5)
    assert found[4] == pytest.approx(graycoprops(matrix, "entropy").item() / 5, abs=1e-5)


# --- orientation


@pytest.mark.parametrize("level", range(texture_oriented.LEVELS))
@pytest.mark.parametrize("angle", [0.0, math.pi / 6, math.pi / 2])
def test_a_grating_answers_at_its_own_scale_and_orientation(level: int, angle: float) -> None:
    wavelength = texture_oriented.WAVELENGTH * 2**level
    planes = grey_planes(grating(wavelength, angle))
    ours = columns(texture_oriented.NAMES, texture_oriented.oriented(planes))
    energies = [ours[f"oriented.luminance.{4 * 2**k}px.energy"] for k in range(texture_oriented.LEVELS)]
    assert int(np.argmax(energies)) == level
    per_angle = texture_oriented.modulus(planes.pyramid[level])[0, 1].mean((1, 2))
    assert per_angle.argmax() == round(angle / math.pi * texture_oriented.ORIENTATIONS)


def test_a_grating_of_matching_filter_gives_its_amplitude() -> None:
    inside = texture_oriented.modulus(grating(4.0, 0.0, amplitude=0.2))[0, 0, 0, 10:-10, 10:-10]
    assert inside.mean().item() == pytest.approx(0.2, rel=0.05)
    assert inside.std().item() < 0.01, "a quadrature pair does not see phase"


def test_stripes_are_anisotropic_and_noise_is_not() -> None:
    stripes = grey_planes(grating(8.0, math.pi / 6))
    clutter = grey_planes(torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(0)))
    name = "oriented.luminance.8px.global_anisotropy"
    anisotropy = [
        columns(texture_oriented.NAMES, texture_oriented.oriented(p))[name] for p in (stripes, clutter)
    ]
    assert anisotropy[0] > 1
    assert anisotropy[1] < 0.1


def test_the_second_order_sees_a_modulated_grating() -> None:
    at = torch.arange(224)
    beat = 0.5 + 0.2 * torch.cos(2 * math.pi / 4 * at) * (1 + torch.cos(2 * math.pi / 16 * at)) / 2
    plain = grating(4.0, 0.0)
    name = "oriented.luminance.4px.then.16px"
    beats, none = (
        columns(texture_oriented.NAMES, texture_oriented.oriented(grey_planes(image)))[name]
        for image in (beat.expand(1, 1, 224, 224), plain)
    )
    assert beats > 5 * none


def test_coherence_is_one_for_stripes_and_small_for_noise() -> None:
    names = texture_structure.NAMES[: len(texture_structure.STATISTICS) * 2]
    clutter = torch.rand(1, 1, 112, 112, generator=torch.Generator().manual_seed(0))
    for image, low, high in ((grating(8.0, 0.7, side=112), 0.97, 1.0), (clutter, 0.0, 0.35)):
        row = columns(names, texture_structure.gradient_statistics(image.expand(1, 2, -1, -1)))
        assert low <= row["structure.luminance.2px.coherence"] <= high
        assert row["structure.luminance.2px.alignment"] <= high


def test_gradient_is_that_of_numpy() -> None:
    image = planes_of(noise()).luminance[:1]
    down, across = np.gradient(image[0, 0].numpy())
    steep = np.hypot(down, across)[1:-1, 1:-1]
    ours = texture_structure.gradient_statistics(image)[0]
    assert ours[0].item() == pytest.approx(np.log1p(steep.mean() / texture_structure.UNIT), rel=1e-4)
    assert ours[1].item() == pytest.approx(steep.std() / (steep.mean() + texture_structure.UNIT), rel=1e-4)


# --- nuclei


def measured(pixels: torch.Tensor) -> tuple[dict[str, float], dict[str, float]]:
    planes = planes_of(pixels)
    mask = texture_nuclei.nuclear_mask(planes.hematoxylin)
    found = texture_nuclei.nuclei(planes, mask), texture_blobs.blobs(planes, mask)
    return columns(texture_nuclei.NAMES, found[0]), columns(texture_blobs.NAMES, found[1])


@pytest.mark.parametrize("radius", texture_blobs.RADII)
@pytest.mark.parametrize("strength", [0.3, 0.9])
def test_every_disc_is_counted_once_at_its_radius(radius: float, strength: float) -> None:
    _, row = measured(discs(radius, strength=strength))
    count = math.expm1(row["blobs.density"]) * 240**2 / 1000
    assert count == pytest.approx(36, abs=0.01)
    at_radius = math.expm1(row[f"blobs.density.r{radius:g}px"]) * 240**2 / 1000
    assert at_radius == pytest.approx(36, abs=0.01)
    assert row["blobs.log_radius.mean"] == pytest.approx(math.log(radius), abs=1e-5)
    assert row["blobs.log_radius.std"] < 1e-3


def test_mixed_sizes_spread_the_radius() -> None:
    mixed = torch.cat([discs(3.0)[..., :120], discs(8.5)[..., :120]], 3)
    _, row = measured(mixed)
    assert row["blobs.log_radius.std"] > 0.4


def test_area_and_staining_of_discs() -> None:
    row, _ = measured(discs(8.0, strength=0.5))
    assert row["nuclei.area"] == pytest.approx(math.pi * 64 / 1600, rel=0.03)
    assert row["nuclei.inside.hematoxylin"] == pytest.approx(0.5, abs=0.02)
    assert row["nuclei.outside.hematoxylin"] == pytest.approx(0.0, abs=0.02)
    assert row["nuclei.inside.eosin"] == pytest.approx(0.1, abs=0.02)
    assert row["nuclei.inside.hematoxylin.std"] < 0.01
    assert row["nuclei.separability"] > 0.95


@pytest.mark.parametrize("radius", [4.0, 6.0, 8.0])
def test_openings_keep_discs_until_their_radius(radius: float) -> None:
    row, _ = measured(discs(radius))
    left = [row[f"nuclei.opening.{2 * step}px"] for step in range(1, texture_nuclei.OPENINGS + 1)]
    assert left == sorted(left, reverse=True)
    assert row[f"nuclei.opening.{round(radius) - 2}px"] > 0.6
    assert row[f"nuclei.opening.{round(radius) + 2}px"] == 0
    assert row["nuclei.radius.mean"] * 10 == pytest.approx(radius, abs=2)


def test_weaker_staining_keeps_the_nuclei() -> None:
    strong, weak = (measured(discs(6.0, strength=s)) for s in (0.9, 0.45))
    assert weak[0]["nuclei.area"] == pytest.approx(strong[0]["nuclei.area"], rel=0.02)
    assert weak[1]["blobs.density"] == pytest.approx(strong[1]["blobs.density"], rel=1e-3)
    assert weak[0]["nuclei.inside.hematoxylin"] < 0.6 * strong[0]["nuclei.inside.hematoxylin"]


def test_clusters_are_told_from_an_even_spread() -> None:
    even, crowded = discs(4.2, pitch=30), discs(4.2, pitch=15)
    crowded[..., 120:] = 255
    crowded[..., 120:, :] = 255
    assert measured(crowded)[1]["blobs.clustering"] > measured(even)[1]["blobs.clustering"] + 1
