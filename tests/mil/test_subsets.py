"""Parts of a bag: what is worked out in closed form is what the head says when it is really asked."""

from __future__ import annotations

import pytest
import torch

from slidestream.errors import LimitExceeded
from slidestream.mil import subsets
from slidestream.mil.bags import Bags
from slidestream.mil.explain import alone, left_out
from slidestream.mil.heads import Head
from slidestream.mil.registry import build_head, head_names
from slidestream.mil.spec import TrainSpec
from slidestream.mil.subsets import Asked, of_each_alone, subsets_of

DIM, COUNT, CLASSES = 12, 23, 3
CLOSED = ("mean", "max", "abmil", "abmil-mb", "clam-sb", "clam-mb")


def head_of(name: str, task: str = "classes") -> Head:
    torch.manual_seed(1)
    return build_head(TrainSpec(head=name, task=task, hidden=16, attention=6), DIM, CLASSES).eval()


@pytest.fixture
def bag() -> Bags:
    torch.manual_seed(0)
    places = torch.stack([torch.arange(COUNT) % 5, torch.arange(COUNT) // 5], dim=1) * 224
    return Bags.single(torch.randn(COUNT, DIM) * 2, places)


def rows_of(bag: Bags, rows: torch.Tensor) -> Bags:
    return Bags.single(bag.features[rows], bag.coords[rows])


@torch.inference_mode()
def really_without(head: Head, bag: Bags, patch: int) -> torch.Tensor:
    everything = torch.arange(len(bag.features))
    return head(rows_of(bag, everything[everything != patch])).logits[0].double()


@pytest.mark.parametrize("name", head_names())
@torch.inference_mode()
def test_every_patch_is_left_out_as_if_it_had_never_been_there(name: str, bag: Bags) -> None:
    head = head_of(name)
    found = subsets_of(head, bag).without_each().double()
    assert isinstance(subsets_of(head, bag), Asked) == (name not in CLOSED)
    for patch in range(COUNT):
        torch.testing.assert_close(found[patch], really_without(head, bag, patch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", head_names())
@torch.inference_mode()
def test_any_part_is_what_the_head_says_of_it(name: str, bag: Bags) -> None:
    head = head_of(name)
    parts = subsets_of(head, bag)
    for rows in (torch.arange(COUNT), torch.tensor([4]), torch.tensor([0, 3, 4, 9, 22])):
        expected = head(rows_of(bag, rows)).logits.double()
        torch.testing.assert_close(parts.only(rows).double(), expected, atol=1e-5, rtol=0)
    each = of_each_alone(head, bag)
    for patch in range(COUNT):
        expected = head(rows_of(bag, torch.tensor([patch]))).logits[0]
        torch.testing.assert_close(each[patch], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["abmil", "abmil-mb", "clam-mb"])
@torch.inference_mode()
def test_a_patch_with_nearly_all_attention_is_left_out_just_as_exactly(name: str, bag: Bags) -> None:
    """Its weight is 1 to every digit, and what is left of the sum would be noise."""
    head = head_of(name)
    head.attend.score.weight.mul_(3000)
    weight = head(bag).attention
    assert weight.max() > 1 - 1e-7
    found = subsets_of(head, bag).without_each()
    for patch in range(COUNT):
        torch.testing.assert_close(found[patch], really_without(head, bag, patch), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_little_changes_are_not_lost_in_rounding() -> None:
    """Of 20,000 patches one changes the logits by some 1e-6: float32 would keep one digit of that."""
    head, many = head_of("abmil"), Bags.single(torch.randn(20000, DIM), torch.zeros(20000, 2))
    whole = left_out(head, many, 1)
    exact = head.double()
    hidden = exact.project(many.features.double())
    scores = exact.attend(hidden)[:, 0]
    for patch in (0, 777, 19999):
        kept = torch.arange(20000) != patch
        logits = [exact.classify(scores[k].softmax(0) @ hidden[k]) for k in (kept | True, kept)]
        odds = [x[1] - x[[0, 2]].logsumexp(0) for x in logits]
        assert whole[patch].item() == pytest.approx((odds[0] - odds[1]).item(), rel=0.02)


@pytest.mark.parametrize("task", ["classes", "corn", "link"])
@pytest.mark.parametrize("label", range(CLASSES))
def test_what_is_lost_is_log_odds_of_the_class_for_every_task(task: str, label: int, bag: Bags) -> None:
    head = head_of("abmil", task)

    def odds(of: Bags) -> float:
        p = head.task.probabilities(head(of).logits)[0, label]
        return float((p / (1 - p)).log().detach())

    lost = left_out(head, bag, label)
    everything = torch.arange(COUNT)
    for patch in (0, 11):
        expected = odds(bag) - odds(rows_of(bag, everything[everything != patch]))
        assert lost[patch].item() == pytest.approx(expected, abs=1e-5)
        assert alone(head, bag, label)[patch].item() == pytest.approx(
            odds(rows_of(bag, torch.tensor([patch]))), abs=1e-5
        )


def test_nothing_is_lost_with_the_only_patch(bag: Bags) -> None:
    assert left_out(head_of("abmil"), rows_of(bag, torch.tensor([3])), 0).tolist() == [0]


def test_a_large_bag_is_refused_where_the_head_must_be_asked(
    monkeypatch: pytest.MonkeyPatch, bag: Bags
) -> None:
    monkeypatch.setattr(subsets, "MOST_ASKED", COUNT - 1)
    with pytest.raises(LimitExceeded, match=f"{COUNT} patches"):
        left_out(head_of("transmil"), bag, 0)
    assert len(left_out(head_of("abmil"), bag, 0)) == COUNT


@torch.inference_mode()
def test_pieces_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch, bag: Bags) -> None:
    for name in ("abmil", "dsmil"):
        head = head_of(name)
        whole, each = subsets_of(head, bag).without_each(), of_each_alone(head, bag)
        with monkeypatch.context() as patched:
            patched.setattr(subsets, "ROWS", 2 * COUNT + 1)
            torch.testing.assert_close(subsets_of(head, bag).without_each(), whole, atol=1e-6, rtol=0)
            patched.setattr(subsets, "ROWS", 5)
            torch.testing.assert_close(of_each_alone(head, bag), each, atol=1e-6, rtol=0)
