"""What counts as other embeddings, field by field."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from slidestream.errors import ContractMismatch
from slidestream.features.card import EncoderCard
from slidestream.mil.contract import DESCRIPTIVE, EmbeddingContract, require_equal
from slidestream.tiling.spec import PatchSpec

CARD = EncoderCard("texture", "built-in", "1", "", "Apache-2.0", False, 8, 224)


def contract(card: EncoderCard = CARD, patch: PatchSpec | None = None, **changes: Any) -> EmbeddingContract:
    patch = patch or PatchSpec()
    attributes = {
        "source": {"kind": "slide"},
        "encoder": card.to_dict(),
        "patch": patch.to_dict(),
        "stain": None,
    }
    return EmbeddingContract.from_attributes(attributes | changes)


def other(value: Any) -> Any:
    if isinstance(value, tuple):
        return (0.123,)
    if isinstance(value, dict):
        return {**value, "depth": 3}
    if value is None:
        return "x"
    return (not value) if isinstance(value, bool) else value + ("x" if isinstance(value, str) else 1)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EncoderCard)])
def test_every_field_of_a_card_counts_unless_it_only_describes(field: str) -> None:
    changed = contract(dataclasses.replace(CARD, **{field: other(getattr(CARD, field))}))
    if field in DESCRIPTIVE:
        require_equal(contract(), changed, "Slide a")
    else:
        with pytest.raises(ContractMismatch, match=rf"Slide a .*encoder\.{field}(\.depth)?: "):
            require_equal(contract(), changed, "Slide a")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(PatchSpec)])
def test_of_a_patch_only_size_and_spacing_count(field: str) -> None:
    value = getattr(PatchSpec(), field)
    patch = PatchSpec(**{field: (not value) if isinstance(value, bool) else value + 1 if value >= 1 else 0.5})
    if field in ("size_px", "spacing"):
        with pytest.raises(ContractMismatch, match=f"patch.{field}: "):
            require_equal(contract(), contract(patch=patch), "Slide a")
    else:
        require_equal(contract(), contract(patch=patch), "Slide a")


def test_the_error_names_all_that_differs_and_both_values() -> None:
    found = contract(
        dataclasses.replace(CARD, name="uni"), PatchSpec(spacing=0.5), stain={"method": "macenko"}
    )
    with pytest.raises(ContractMismatch) as caught:
        require_equal(contract(), found, "Slide a")
    assert 'encoder.name: "texture" != "uni"' in caught.value.cause
    assert "patch.spacing: 1.0 != 0.5" in caught.value.cause
    assert 'stain: null != {"method": "macenko"}' in caught.value.cause
    assert caught.value.exit_code == 2
    with pytest.raises(ContractMismatch, match='kind: "slide" != "volume"'):
        require_equal(contract(), contract(source={"kind": "volume"}), "Slide a")


def test_a_contract_survives_being_written_down() -> None:
    made = contract(stain={"method": "macenko", "target": [1, 2]})
    assert EmbeddingContract.from_dict(made.to_dict()) == made
