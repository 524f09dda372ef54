"""`pool`: one embedding per slide, by a slide encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .encoding import note_licence
from .options import Device, Json, RunFolder
from .output import say, show_json


def pool(
    run: RunFolder,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="NPZ", help="Where to write the embeddings.")],
    encoder: Annotated[
        str, typer.Option("--slide-encoder", metavar="NAME", help="One of `slidestream encoders`.")
    ] = "mean",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Bring every slide of a run folder to one embedding; refused where the slide encoder takes others."""
    import numpy as np

    from ..mil.slide_encoder import encode_run, load_slide_encoder

    loaded = load_slide_encoder(encoder, device)
    note_licence(encoder)
    slides = dict(encode_run(loaded, run))
    embeddings = (
        np.stack(list(slides.values())) if slides else np.empty((0, loaded.card.card.dim), np.float32)
    )
    # A file object, since numpy would change the name of a path that does not end in .npz.
    with open(out, "wb") as file:
        np.savez(file, slides=np.array(list(slides), dtype=str), embeddings=embeddings)
    if json:
        show_json({"out": str(out), "slides": list(slides), "slide_encoder": loaded.card.to_dict()})
        return
    say(
        f"{out}: {len(slides)} slides, {embeddings.shape[1]} numbers each (arrays `slides` and `embeddings`)."
    )
