"""Fits, against torchstain, scikit-learn, scikit-image, a second implementation, and stains known by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchstain
from numpy.typing import NDArray
from skimage.color import rgb2lab
from sklearn.decomposition import PCA, DictionaryLearning

from slidestream.errors import StainUnfit, UsageError
from slidestream.stain.density import concentrations, density
from slidestream.stain.fitting import fit
from slidestream.stain.reference import reference
from slidestream.stain.spec import METHODS, StainFit, StainSpec
from slidestream.stain.table import apply
from slidestream.stain.vahadane import SPARSITY, sparse_concentrations, vahadane_stains

H_AND_E = np.array([[0.62, 0.70, 0.354], [0.17, 0.92, 0.353]])
SOURCE, TARGET = "stain/torchstain/source.png", "stain/torchstain/target.png"

Pixels = NDArray[np.uint8]
Picture = Callable[[str], Pixels]
Draw = Callable[..., Pixels]


def shuffled(picture: Pixels) -> Pixels:
    return np.random.default_rng(0).permutation(picture.reshape(-1, 3))


def by_another_way(pixels: Pixels) -> NDArray[np.float64]:
    """Macenko's stains by principal components and angles about their middle, each taken by arccos."""
    od = -np.log((pixels.reshape(-1, 3) + 1.0) / 240)
    od = od[(od >= 0.15).all(axis=1)]
    first, second = PCA(2).fit(od).components_
    first = first * np.sign(first.sum())
    on_plane = np.stack([od @ first, od @ second], axis=1)
    angles = np.arccos(on_plane[:, 0] / np.linalg.norm(on_plane, axis=1)) * np.sign(on_plane[:, 1])
    ends = [np.cos(a) * first + np.sin(a) * second for a in np.quantile(angles, [0.01, 0.99])]
    return np.array(sorted(ends, key=lambda stain: -stain[0]))


@pytest.mark.parametrize("name", [SOURCE, TARGET])
def test_macenko_finds_the_stains_a_second_implementation_finds(picture: Picture, name: str) -> None:
    found = fit("macenko", shuffled(picture(name)))
    np.testing.assert_allclose(found.stains, by_another_way(picture(name)), atol=1e-3)


@pytest.mark.parametrize("name", [SOURCE, TARGET])
def test_macenko_finds_torchstains_stains(picture: Picture, name: str) -> None:
    theirs = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    theirs.fit(picture(name))
    np.testing.assert_allclose(fit("macenko", shuffled(picture(name))).stains, theirs.HERef.T, atol=1e-3)


@pytest.mark.parametrize("target", [TARGET, None])
def test_macenko_normalises_like_torchstain(picture: Picture, target: str | None) -> None:
    """They measure strengths on glass too, we on tissue: that is what is left, 0.6, 1.5 and 0.8 of 255."""
    theirs = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    aim = reference("macenko")
    if target:
        theirs.fit(picture(target))
        aim = fit("macenko", shuffled(picture(target)))
    source = picture(SOURCE)
    expected, _, _ = theirs.normalize(source, stains=False)
    ours = apply(fit("macenko", shuffled(source)), aim, torch.from_numpy(source)[None])[0].numpy()
    assert np.abs(ours - expected.astype(float)).mean(axis=(0, 1)).max() < 2


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
def test_stains_known_by_hand_are_found(drawn: Draw, method: str) -> None:
    found = np.array(fit(method, drawn(H_AND_E)).stains)
    assert np.degrees(np.arccos((found * H_AND_E).sum(axis=1))).max() < 3


def test_vahadane_is_scikit_learns_sparse_dictionary(picture: Picture) -> None:
    od = density(shuffled(picture(SOURCE)))
    od = od[od.max(axis=1) >= 0.15][:4000].clip(0)
    start = np.random.default_rng(1).uniform(0.2, 1, (2, 3))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    reference = DictionaryLearning(
        2, alpha=SPARSITY, max_iter=500, tol=1e-9, fit_algorithm="cd", dict_init=start,
        code_init=np.full((len(od), 2), 0.5), positive_code=True, positive_dict=True, random_state=0,
    )  # fmt: skip
    theirs = reference.fit(od).components_
    theirs = theirs[np.argsort(-theirs[:, 0])]
    ours = vahadane_stains(od)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)

    def cost(stains: NDArray[np.float64]) -> float:
        codes = sparse_concentrations(od, stains)
        return float(0.5 * ((od - codes @ stains) ** 2).sum() + SPARSITY * codes.sum())

    assert cost(ours) <= cost(theirs) * (1 + 1e-6)


def test_sparse_concentrations_are_scikit_learns(drawn: Draw) -> None:
    from sklearn.decomposition import sparse_encode

    od = density(drawn(H_AND_E, 500)).clip(0)
    unit = H_AND_E / np.linalg.norm(H_AND_E, axis=1, keepdims=True)
    theirs = sparse_encode(od, unit, algorithm="lasso_cd", alpha=SPARSITY, positive=True, max_iter=10_000)
    np.testing.assert_allclose(sparse_concentrations(od, unit), theirs, atol=1e-3)


def test_ruifrok_measures_strengths_along_the_published_vectors(drawn: Draw) -> None:
    pixels = drawn(H_AND_E)
    found = fit("ruifrok", pixels)
    published = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    np.testing.assert_allclose(
        found.stains, published / np.linalg.norm(published, axis=1)[:, None], atol=1e-6
    )
    od = -np.log((pixels + 1.0) / 240)
    amounts = np.linalg.lstsq(np.array(found.stains).T, od[od.max(axis=1) >= 0.15].T, rcond=None)[0]
    np.testing.assert_allclose(found.strengths, np.percentile(amounts, 99, axis=1), atol=1e-5)


def test_reinhard_takes_the_tissues_mean_and_deviation_in_lab(drawn: Draw) -> None:
    pixels = drawn(H_AND_E)
    glass = np.full((5000, 3), 238, np.uint8)
    found = fit("reinhard", np.concatenate([glass, pixels]))
    tissue = pixels[(-np.log((pixels + 1.0) / 240)).max(axis=1) >= 0.15]
    lab = rgb2lab(tissue[None])[0]
    np.testing.assert_allclose(found.lab_mean, lab.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.lab_std, lab.std(axis=0), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_more_glass_in_the_sample_changes_nothing(drawn: Draw, method: str) -> None:
    pixels = drawn(H_AND_E)
    glass = np.full((30_000, 3), 240, np.uint8)
    assert fit(method, np.concatenate([pixels, glass])) == fit(method, pixels)


def test_the_references_strengths_are_reached(drawn: Draw) -> None:
    """Normalised tissue, measured along the reference's stains, is as strong as the reference."""
    pixels = drawn(H_AND_E)
    aim = reference("macenko")
    after = apply(fit("macenko", pixels), aim, torch.from_numpy(pixels).view(1, 200, 100, 3)).reshape(-1, 3)
    amounts = concentrations(density(after.numpy()), np.array(aim.stains))
    np.testing.assert_allclose(np.percentile(amounts, 99, axis=0), aim.strengths, rtol=0.03)


def test_the_lab_reference_is_what_its_note_says(real: Callable[[str], object]) -> None:
    import openslide

    with openslide.OpenSlide(real("wsi/CMU-1-Small-Region.svs")) as slide:
        pixels = np.array(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    found = fit("macenko", pixels.reshape(-1, 3))
    after = apply(found, reference("macenko"), torch.from_numpy(pixels)[None])[0].numpy()
    measured = fit("reinhard", after.reshape(-1, 3))
    np.testing.assert_allclose(reference("reinhard").lab_mean, measured.lab_mean, atol=0.02)
    np.testing.assert_allclose(reference("reinhard").lab_std, measured.lab_std, atol=0.02)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "stains",
    [
        [[0.65, 0.70, 0.29], [0.27, 0.57, 0.78]],  # haematoxylin and DAB (Ruifrok and Johnston 2001)
        [[0.58, 0.58, 0.58], [0.57, 0.58, 0.59]],  # grey: ink, pigment, out of focus dirt
        [[0.90, 0.10, 0.42], [0.10, 0.80, 0.59]],  # cyan and red ink
    ],
)
def test_other_stains_are_refused(drawn: Draw, method: str, stains: list[list[float]]) -> None:
    with pytest.raises(StainUnfit, match="not haematoxylin and eosin") as refused:
        fit(method, drawn(np.array(stains)))
    assert "--allow-unnormalised" in refused.value.fix


@pytest.mark.parametrize("method", METHODS)
def test_a_real_immunohistochemical_field_is_refused(picture: Picture, method: str) -> None:
    with pytest.raises(StainUnfit):
        fit(method, shuffled(picture("ihc/DeepLIIF_large/ROI_1.png")))


@pytest.mark.parametrize("method", METHODS)
def test_too_little_tissue_is_refused(drawn: Draw, method: str) -> None:
    glass = np.full((50_000, 3), 245, np.uint8)
    with pytest.raises(StainUnfit, match="are stained"):
        fit(method, np.concatenate([glass, drawn(H_AND_E, 900)]))


def test_one_stain_alone_is_refused(drawn: Draw) -> None:
    eosin_only = drawn(np.array([H_AND_E[1], H_AND_E[1]]))
    with pytest.raises(StainUnfit):
        fit("macenko", eosin_only)


def test_unknown_methods_and_mixed_targets_are_refused() -> None:
    with pytest.raises(UsageError, match="no stain method"):
        fit("makenco", np.zeros((5000, 3), np.uint8))
    with pytest.raises(UsageError, match="fitted by reinhard"):
        StainSpec("macenko", reference("reinhard"))


def test_a_fit_comes_back_from_its_dictionary(drawn: Draw) -> None:
    for method in METHODS:
        found = fit(method, drawn(H_AND_E))
        assert StainFit.from_dict(found.to_dict()) == found
    with pytest.raises(UsageError):
        StainFit.from_dict({"method": "macenko", "stains": [[1, 2]], "strengths": [1.0, 1.0]})
    with pytest.raises(UsageError):
        StainFit("reinhard", lab_mean=(1.0, 1.0, 1.0), lab_std=(1.0, 0.0, 1.0))
