"""The gated head: against an independent implementation, and blind to how bags are batched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slidestream.errors import UsageError
from slidestream.mil.abmil import Abmil
from slidestream.mil.bags import Bags
from slidestream.mil.registry import build_head, head_names
from slidestream.mil.spec import TrainSpec
from slidestream.mil.standardise import Moments, Standardiser

DIM, SPEC = 12, TrainSpec(hidden=10, attention=6)
SIZES = (1, 7, 30, 2)


@pytest.fixture
def bags() -> Bags:
    torch.manual_seed(0)
    return Bags.of([Bags.single(torch.randn(n, DIM) * 3 + 1, places(n)) for n in SIZES])


def places(count: int) -> torch.Tensor:
    return torch.stack([torch.arange(count) % 5, torch.arange(count) // 5], dim=1) * 224


def padded(bags: Bags) -> tuple[torch.Tensor, torch.Tensor]:
    x, mask = torch.zeros(len(bags), max(SIZES), DIM), torch.zeros(len(bags), max(SIZES))
    for number, size in enumerate(SIZES):
        x[number, :size] = bags[number].features
        mask[number, :size] = 1
    return x, mask


def copy_into(layer: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    getattr(layer, "module", layer).load_state_dict(weights)


def test_equals_torchmil_on_ragged_bags(bags: Bags) -> None:
    models = pytest.importorskip("torchmil.models")
    head = Abmil(SPEC, DIM, 2).eval()
    theirs = models.ABMIL(
        in_shape=(DIM,), att_dim=6, gated=True, feat_ext=nn.Sequential(nn.Linear(DIM, 10), nn.ReLU())
    ).eval()
    theirs.feat_ext[0].load_state_dict(head.project[0].state_dict())
    copies = {"fc1": head.attend.content, "fc_gated": head.attend.gate, "fc2": head.attend.score}
    for name, ours in copies.items():
        copy_into(getattr(theirs.pool, name), ours.state_dict())
    # One logit there is the difference of two here.
    last = head.classify[1]
    difference = {"weight": last.weight[1:] - last.weight[:1], "bias": last.bias[1:] - last.bias[:1]}
    copy_into(theirs.classifier, difference)
    x, mask = padded(bags)
    expected, scores = theirs(x, mask, return_att=True)
    output = head(bags)
    torch.testing.assert_close(output.logits[:, 1] - output.logits[:, 0], expected, atol=1e-5, rtol=0)
    weights = torch.cat([scores[i, :n].softmax(0) for i, n in enumerate(SIZES)])
    torch.testing.assert_close(output.attention[:, 0], weights, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", head_names())
def test_a_bag_does_not_feel_its_neighbours(name: str, bags: Bags) -> None:
    head = build_head(SPEC.__class__(head=name), DIM, 3).eval()
    together = head(bags)
    assert together.logits.shape == (len(SIZES), 3)
    alone = [head(bags[i]) for i in range(len(bags))]
    torch.testing.assert_close(together.logits, torch.cat([a.logits for a in alone]), atol=1e-5, rtol=0)
    torch.testing.assert_close(together.attention, torch.cat([a.attention for a in alone]), atol=1e-6, rtol=0)
    backwards = head(bags.select([3, 2, 1, 0]))
    torch.testing.assert_close(together.logits, backwards.logits.flip(0), atol=1e-5, rtol=0)
    for i in range(len(bags)):
        torch.testing.assert_close(alone[i].attention.sum(0), torch.ones(together.attention.shape[1]))


@pytest.mark.parametrize("name", head_names())
def test_the_order_of_patches_does_not_matter(name: str, bags: Bags) -> None:
    head = build_head(SPEC.__class__(head=name), DIM, 2).eval()
    if head.order_matters:
        pytest.skip("as published, it depends on the order")
    shuffled = torch.randperm(SIZES[2])
    one = bags[2]
    other = Bags.single(one.features[shuffled], one.coords[shuffled])
    torch.testing.assert_close(head(one).logits, head(other).logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(head(one).attention[shuffled], head(other).attention, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", head_names())
def test_every_weight_learns(name: str, bags: Bags) -> None:
    head = build_head(SPEC.__class__(head=name), DIM, 2).train()
    head.loss(head(bags), torch.tensor([0, 1, 1, 0]), nn.functional.cross_entropy).backward()
    for weight_name, weight in head.named_parameters():
        assert weight.grad is not None, weight_name
        assert weight.grad.abs().sum() > 0, weight_name


def test_gradients_of_the_whole_head_are_exact() -> None:
    torch.manual_seed(1)
    head = Abmil(TrainSpec(hidden=4, attention=3), 3, 2).double().eval()
    offsets = torch.tensor([0, 2, 7])

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        return head.classify(pool(hidden))

    def pool(x: torch.Tensor) -> torch.Tensor:
        # The standardiser works in float32, too coarse for finite differences: start behind it.
        from slidestream.mil.pooling import bag_softmax, weighted_sum

        projected = head.project(x)
        return weighted_sum(projected, bag_softmax(head.attend(projected), offsets), offsets)

    assert torch.autograd.gradcheck(logits, torch.randn(7, 3, dtype=torch.float64, requires_grad=True))


def test_an_unknown_head_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="abmil"):
        build_head(TrainSpec(head="amil"), DIM, 2)


def test_standardised_embeddings_have_zero_mean_and_unit_variance(bags: Bags) -> None:
    same = Bags.of([Bags.single(torch.randn(50, 4) * 7 + 900, torch.zeros(50, 2)) for _ in range(6)])
    same.features[:, 3] = 5.0
    standardise = Standardiser(4)
    standardise.fit(Moments.together([Moments.of_bag(same[i]) for i in range(6)]))
    out = standardise(same.features)
    torch.testing.assert_close(out.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        out.std(0, correction=0), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-4, rtol=0
    )


def test_a_large_slide_weighs_no_more_than_a_small_one() -> None:
    small, large = torch.zeros(2, 1), torch.ones(1000, 1)
    moments = Moments.together(
        [Moments.of_bag(Bags.single(x, torch.zeros(len(x), 2))) for x in (small, large)]
    )
    assert moments.mean.item() == 0.5
    assert moments.variance.item() == 0.25
