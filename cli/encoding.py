"""`encoders`: what can encode patches, whether its weights are here, and how they come here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Json
from .output import note, say, show_json, show_table

if TYPE_CHECKING:
    from ..features.card import EncoderCard

app = typer.Typer()

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Encoders, or YAML cards.")]


@app.callback(invoke_without_command=True)
def encoders(context: typer.Context, json: Json = False) -> None:
    """List the encoders; show one; fetch weights; pack weights for a machine without a network."""
    if context.invoked_subcommand is None:
        list_encoders(json)
    elif json:
        raise UsageError("--json belongs behind the name of the subcommand.", "As in: encoders list --json")


@app.command("list")
def list_encoders(json: Json = False) -> None:
    """List every encoder: what it takes, its licence, and whether its weights are on this machine."""
    from ..features.encoder import encoder_names, known_card
    from ..features.zoo.slides import SLIDE_ENCODERS

    cards = [known_card(name) for name in encoder_names()]
    slides = [_facts(s.card) | {"needs": s.needs} for s in SLIDE_ENCODERS.values()]
    if json:
        show_json({"encoders": [_facts(card) for card in cards], "slide_encoders": slides})
        return
    show_table(
        "encoders",
        ("name", "dim", "patch px", "µm per px", "licence", "gated", "weights"),
        [(c.name, c.dim, c.patch_px, _spacings(c), c.licence, _gated(c), _weights(c)) for c in cards],
    )
    show_table(
        "slide encoders, for `slidestream pool`",
        ("name", "dim", "of encoder", "licence", "gated", "weights"),
        [
            (
                s.card.name,
                s.card.dim or "same",
                s.needs or "any",
                s.card.licence,
                _gated(s.card),
                _weights(s.card),
            )
            for s in SLIDE_ENCODERS.values()
        ],
    )


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")], json: Json = False) -> None:
    """Show the whole card of one encoder, and where its weights lie or would."""
    from ..features.zoo.weights import weights_path

    card = _any_card(name)
    facts = _facts(card) | ({"path": str(weights_path(card))} if card.architecture else {})
    if json:
        show_json(facts)
        return
    for key, value in facts.items():
        say(f"{key:<16}{', '.join(map(str, value)) if isinstance(value, list) else value}")


@app.command()
def pull(names: Names, json: Json = False) -> None:
    """Fetch weights from the Hugging Face Hub, each at its pinned revision; the token is that of HF_TOKEN."""
    from ..features.zoo.hub import pull as fetch
    from ..features.zoo.weights import weights_path

    rows = []
    for card in [_any_card(name) for name in names]:
        if not card.architecture:
            note(f"Encoder {card.name} is built in: there is nothing to fetch.")
            continue
        note_licence(card.name, card)
        lock = fetch(card)
        rows.append({"name": card.name, "path": str(weights_path(card)), **lock.to_dict()})
    if json:
        show_json({"pulled": rows})
        return
    for row in rows:
        say(f"{row['name']}: {row['path']} (sha256 {row['sha256']}, revision {row['revision'] or 'unknown'})")


@app.command()
def bundle(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to carry.")], names: Names
) -> None:
    """Copy fetched weights into a folder for a machine without a network: its SLIDESTREAM_WEIGHTS."""
    from ..features.zoo.bundle import bundle as pack

    cards = [_any_card(name) for name in names]
    for card in cards:
        note_licence(card.name, card)
    pack(cards, folder)
    say(f"{folder}: {len(cards)} encoders. There, set SLIDESTREAM_WEIGHTS to this folder.")


def _any_card(name: str) -> EncoderCard:
    """The card of a patch encoder or of a slide encoder."""
    from ..features.encoder import known_card
    from ..features.zoo.slides import SLIDE_ENCODERS

    return SLIDE_ENCODERS[name].card if name in SLIDE_ENCODERS else known_card(name)


def note_licence(name: str, card: EncoderCard | None = None) -> None:
    """Say under which licence an encoder's weights are; nothing of a built-in one."""
    card = card or _any_card(name)
    if card.architecture:
        where = f"; {card.home}" if card.home else ""
        note(f"Encoder {card.name}: licence of the weights {card.licence}{where}")


def _facts(card: EncoderCard) -> dict[str, Any]:
    from ..features.zoo.weights import has_weights

    return card.to_dict() | {"weights_present": has_weights(card), "home": card.home}


def _gated(card: EncoderCard) -> str:
    return "yes" if card.gated else "no"


def _weights(card: EncoderCard) -> str:
    from ..features.zoo.weights import has_weights

    if not card.architecture:
        return "built in"
    return "present" if has_weights(card) else "-"


def _spacings(card: EncoderCard) -> str:
    return ", ".join(f"{spacing:g}" for spacing in card.spacings) or "any"
