"""Every head against an independent implementation with the same weights, bag by bag."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slidestream.mil.alibi import MOST_TOKENS, AlibiTransformer, cells_of
from slidestream.mil.bags import Bags
from slidestream.mil.clam import BAG_WEIGHT, PATCHES, Clam, ClamOutput
from slidestream.mil.dsmil import Dsmil, DualOutput
from slidestream.mil.dtfd import PSEUDO_BAGS, Dtfd, TieredOutput
from slidestream.mil.multibranch import MultiBranchAbmil
from slidestream.mil.plain_pools import MaxPool, MeanPool
from slidestream.mil.spec import TrainSpec
from slidestream.mil.transmil import TransMil

DIM, HIDDEN, WIDTH = 12, 16, 6
SPEC = TrainSpec(hidden=HIDDEN, attention=WIDTH, dropout=0.0)
SIZES = (5, 23, 70, 2)


@pytest.fixture
def bags() -> Bags:
    torch.manual_seed(0)
    each = [Bags.single(torch.randn(n, DIM), torch.randint(0, 9, (n, 2)) * 224) for n in SIZES]
    return Bags.of(each)


def models() -> Any:
    return pytest.importorskip("torchmil.models")


def same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def extractor(head: Any) -> nn.Module:
    """Our projection, as their feature extractor."""
    return (
        nn.Sequential(nn.Linear(DIM, HIDDEN), nn.ReLU())
        .requires_grad_(False)
        .apply(
            lambda layer: (
                layer.load_state_dict(head.project[0].state_dict()) if isinstance(layer, nn.Linear) else None
            )
        )
    )


def fill(layer: Any, state: dict[str, torch.Tensor]) -> None:
    """Weights into a layer of theirs, which may be wrapped."""
    getattr(layer, "module", layer).load_state_dict(state)


def difference(layer: nn.Linear) -> dict[str, torch.Tensor]:
    """One logit there is the difference of two here."""
    return {"weight": layer.weight[1:] - layer.weight[:1], "bias": layer.bias[1:] - layer.bias[:1]}


def test_mean_and_max_pooling_by_hand(bags: Bags) -> None:
    for kind in (MeanPool, MaxPool):
        head = kind(SPEC, DIM, 3).eval()
        output = head(bags)
        for number, size in enumerate(SIZES):
            hidden = head.project(bags[number].features)
            if kind is MeanPool:
                expected = head.classify(hidden.mean(0))
                weights = torch.full((size, 1), 1 / size)
            else:
                each = head.classify(hidden)
                expected, row = each.max(0)
                weights = torch.nn.functional.one_hot(row, size).T.float()
            same(output.logits[number], expected)
            rows = slice(int(bags.offsets[number]), int(bags.offsets[number + 1]))
            same(output.attention[rows], weights)


def test_branches_attend_each_for_its_own_class(bags: Bags) -> None:
    head = MultiBranchAbmil(SPEC, DIM, 3).eval()
    output = head(bags)
    for number in range(len(SIZES)):
        hidden = head.project(bags[number].features)
        gated = head.attend.content(hidden).tanh() * head.attend.gate(hidden).sigmoid()
        for label in range(3):
            weights = (gated @ head.attend.score.weight[label]).softmax(0)
            logit = (weights @ hidden) @ head.classify.weight[label] + head.classify.bias[label]
            same(output.logits[number, label], logit)
            rows = slice(int(bags.offsets[number]), int(bags.offsets[number + 1]))
            same(output.attention[rows, label], weights)


def test_clam_equals_torchmil(bags: Bags) -> None:
    head = Clam(SPEC, DIM, 2, branches=1).eval()
    theirs = models().CLAM_SB(
        in_shape=(DIM,), att_dim=WIDTH, gated=True, k_sample=PATCHES, feat_ext=extractor(head)
    )
    for name, ours in {"fc1": "content", "fc_gated": "gate", "fc2": "score"}.items():
        fill(getattr(theirs.pool, name), getattr(head.attend, ours).state_dict())
    fill(theirs.classifier, difference(head.classify))
    theirs.eval()
    output = head(bags)
    for number, size in enumerate(SIZES):
        logit, scores = theirs(bags[number].features[None], return_att=True)
        same((output.logits[number, 1] - output.logits[number, 0])[None], logit)
        rows = slice(int(bags.offsets[number]), int(bags.offsets[number + 1]))
        same(output.attention[rows, 0], scores.reshape(size).softmax(0))


@pytest.mark.parametrize("branches", [1, 3])
def test_clam_tells_the_most_attended_patches_from_the_least(bags: Bags, branches: int) -> None:
    """The instance loss, and its share in the whole, written out for the bag of 70 patches."""
    head = Clam(SPEC, DIM, 3, branches).eval()
    output = head(bags[2])
    assert isinstance(output, ClamOutput)
    expected = torch.zeros(())
    for label, cluster in enumerate(head.clusters):
        order = output.scores[:, label if branches > 1 else 0].argsort(descending=True)
        chosen, wanted = order[:PATCHES], torch.zeros(PATCHES, dtype=torch.long)
        if label == 1:
            chosen, wanted = torch.cat([chosen, order[-PATCHES:]]), torch.cat([wanted + 1, wanted])
        margin = cluster(output.hidden[chosen])
        right = margin.gather(1, wanted[:, None])[:, 0]
        wrong = margin.gather(1, 1 - wanted[:, None])[:, 0] + 1
        expected = expected + (torch.logaddexp(right, wrong) - right).mean()
    targets = torch.tensor([1])
    same(head.instance_loss(output, targets), expected)
    bag = nn.functional.cross_entropy(output.logits, targets)
    whole = head.loss(output, targets, nn.functional.cross_entropy)
    same(whole, BAG_WEIGHT * bag + (1 - BAG_WEIGHT) * expected)


def test_dsmil_equals_torchmil(bags: Bags) -> None:
    head = Dsmil(SPEC, DIM, 1).eval()
    theirs = models().DSMIL(in_shape=(DIM,), att_dim=WIDTH, nonlinear_q=True, feat_ext=extractor(head))
    for layer in (0, 2):
        fill(theirs.q_nn[layer], head.query[layer].state_dict())
    fill(theirs.inst_classifier, head.instance.state_dict())
    fill(theirs.bag_classifier, head.classify.state_dict())
    theirs.eval()
    output = head(bags)
    assert isinstance(output, DualOutput)
    for number in range(len(SIZES)):
        x = bags[number].features[None]
        pooled, attention, patches = theirs(x, return_att=True, return_inst_pred=True)
        rows = slice(int(bags.offsets[number]), int(bags.offsets[number + 1]))
        same(output.pooled[number], pooled)
        same(output.critical[number], patches.max(1).values)
        same(output.attention[rows], attention[0])
        same(output.logits[number], theirs.predict(x))


def test_every_class_of_dsmil_has_its_own_critical_patch(bags: Bags) -> None:
    head = Dsmil(SPEC, DIM, 3).eval()
    output = head(bags[1])
    hidden = head.project(bags[1].features)
    queries, pooled = head.query(hidden), []
    for label in range(3):
        critical = head.instance(hidden)[:, label].argmax()
        weights = (queries @ queries[critical] / WIDTH**0.5).softmax(0)
        same(output.attention[:, label], weights)
        pooled.append(weights @ hidden)
    same(output.pooled[0], head.classify(torch.cat(pooled)))
    targets = torch.tensor([2])
    each = [nn.functional.cross_entropy(logits, targets) for logits in (output.pooled, output.critical)]
    same(head.loss(output, targets, nn.functional.cross_entropy), sum(each) / 2)


def test_transmil_equals_torchmil(bags: Bags) -> None:
    """Theirs lacks the published convolution of the values: ours is set to nothing for the comparison."""
    head = TransMil(SPEC, DIM, 1).eval()
    theirs = models().TransMIL(
        in_shape=(DIM,), att_dim=HIDDEN, n_heads=8, n_landmarks=HIDDEN // 2, feat_ext=extractor(head)
    )
    fill(theirs.pos_layer.proj, head.positions.convolutions[0].state_dict())
    fill(theirs.pos_layer.proj1, head.positions.convolutions[1].state_dict())
    fill(theirs.pos_layer.proj2, head.positions.convolutions[2].state_dict())
    theirs.cls_token.data.copy_(head.token.data)
    for ours, layer in zip((head.first, head.last), theirs.layers, strict=True):
        fill(layer.norm1, ours.norm.state_dict())
        fill(layer.att_module.qkv_nn, ours.attend.qkv.state_dict())
        nn.init.zeros_(ours.attend.residual.weight)
        # Theirs projects only where widths differ.
        ours.attend.out.load_state_dict({"weight": torch.eye(HIDDEN), "bias": torch.zeros(HIDDEN)})
    fill(theirs.norm, head.norm.state_dict())
    fill(theirs.classifier, head.classify.state_dict())
    theirs.eval()
    output = head(bags)
    for number in range(len(SIZES)):
        same(output.logits[number], theirs(bags[number].features[None]))


def test_the_values_are_convolved_along_the_tokens() -> None:
    from slidestream.mil.nystrom import NystromAttention

    torch.manual_seed(0)
    attend = NystromAttention(HIDDEN, 8, 4).eval()
    tokens = torch.randn(1, 10, HIDDEN)
    with_it = attend(tokens)[0]
    weight = attend.residual.weight.data.clone()
    nn.init.zeros_(attend.residual.weight)
    without = attend(tokens)[0]
    value = np.zeros((12, HIDDEN))
    value[2:] = (tokens[0] @ attend.qkv.weight[2 * HIDDEN :].T).detach().numpy()
    added = np.zeros((12, HIDDEN))
    for channel in range(HIDDEN):
        kernel = weight[channel // (HIDDEN // 8), 0, :, 0].numpy()
        added[:, channel] = np.convolve(value[:, channel], kernel[::-1], mode="full")[16:28]
    expected = torch.from_numpy(added[2:]).float() @ attend.out.weight.T
    same((with_it - without)[0], expected)


def test_dtfd_equals_torchmil(bags: Bags, monkeypatch: pytest.MonkeyPatch) -> None:
    head = Dtfd(SPEC, DIM, 1).eval()
    theirs = models().DTFDMIL(
        in_shape=(DIM,), att_dim=WIDTH, n_groups=PSEUDO_BAGS, distill_mode="afs", feat_ext=extractor(head)
    )
    # Theirs attends without a gate; so does ours where the gate is always half open.
    for ours, pool in (
        (head.attend_patches, theirs.attention_pool),
        (head.attend_pseudo, theirs.u_attention_pool),
    ):
        nn.init.zeros_(ours.gate.weight)
        nn.init.zeros_(ours.gate.bias)
        fill(pool.fc1, ours.content.state_dict())
        fill(pool.fc2, {"weight": ours.score.weight / 2})
    fill(theirs.classifier, head.classify_pseudo.state_dict())
    fill(theirs.u_classifier, head.classify.state_dict())
    theirs.eval()
    output = head(bags)
    assert isinstance(output, TieredOutput)
    pseudo = 0
    for number, size in enumerate(SIZES):
        # Theirs cuts a shuffled bag into equal parts: shuffled so that the parts are ours.
        parts = [np.arange(size)[k::PSEUDO_BAGS] for k in range(min(PSEUDO_BAGS, size))]
        monkeypatch.setattr("numpy.random.shuffle", _shuffle_to(np.concatenate(parts)))
        logit, each = theirs(bags[number].features[None], return_pseudo_pred=True)
        same(output.logits[number], logit)
        same(output.pseudo[pseudo : pseudo + len(parts), 0], each[0])
        assert (output.owner[pseudo : pseudo + len(parts)] == number).all()
        pseudo += len(parts)


def _shuffle_to(order: Any) -> Any:
    def shuffle(index: Any) -> None:
        index[:] = order

    return shuffle


def test_the_attention_of_dtfd_is_the_weight_in_the_bag(bags: Bags) -> None:
    head = Dtfd(SPEC, DIM, 2).eval()
    output = head(bags[2])
    hidden = head.project(bags[2].features)
    same(output.logits[0], head.classify((output.attention * hidden).sum(0)))


def test_pseudo_bags_are_drawn_afresh_in_training(bags: Bags) -> None:
    head = Dtfd(SPEC, DIM, 2).train()
    assert not torch.equal(head(bags).pseudo, head(bags).pseudo)
    head.eval()
    assert torch.equal(head(bags).pseudo, head(bags).pseudo)


def test_alibi_equals_attention_written_out(bags: Bags) -> None:
    head = AlibiTransformer(SPEC, DIM, 2).eval()
    coords = torch.tensor([[x * 448, y * 448] for y in range(5) for x in range(4)])
    bag = Bags.single(torch.randn(20, DIM), coords)
    tokens = head.project(bag.features)
    for layer in head.layers:
        query, key, value = layer.qkv(layer.norm(tokens)).chunk(3, 1)
        mixed = []
        for number in range(4):
            own = slice(number * 4, number * 4 + 4)
            scores = query[:, own] @ key[:, own].T / 2
            for i in range(20):
                for j in range(20):
                    away = np.hypot(*((coords[i] - coords[j]) / 448).tolist())
                    scores[i, j] -= 2 ** -(2 * (number + 1)) * away
            mixed.append(scores.softmax(1) @ value[:, own])
        tokens = tokens + layer.out(torch.cat(mixed, 1))
        tokens = tokens + layer.mlp(layer.norm_mlp(tokens))
    weights = head.attend(tokens).softmax(0)
    output = head(bag)
    place = cells_of(coords)[1]
    assert len(set(place.tolist())) == 20
    same(output.logits[0], head.classify((weights * tokens).sum(0)))
    same(output.attention, weights)


def test_a_large_bag_is_averaged_in_cells() -> None:
    coords = torch.cartesian_prod(torch.arange(60), torch.arange(50)) * 224 + 1000
    places, cell = cells_of(coords)
    assert len(places) <= MOST_TOKENS < len(coords)
    side = 2
    expected = (coords - coords.min(0).values) // (224 * side)
    assert len(torch.unique(expected, dim=0)) == len(places)
    assert torch.equal(places[cell], expected * side)
    bag = Bags.single(torch.randn(3000, DIM), coords)
    attention = AlibiTransformer(SPEC, DIM, 2).eval()(bag).attention
    same(attention.sum(), torch.ones(()))
    same(attention[cell == 0], attention[cell == 0][:1].expand(int((cell == 0).sum()), 1))
