"""`run` and `plan`: a folder of slides in, a run folder of stores out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .asking import resolve_command
from .options import (
    BatchSize,
    Dask,
    Devices,
    Encoder,
    Inputs,
    Json,
    ReaderMemory,
    Readers,
    Roi,
    RoiClass,
    Segmenter,
    SlideMpp,
    Timeout,
    Workers,
)
from .output import say, show_failures, show_json, show_table

if TYPE_CHECKING:
    from ..cohort.plan import Step
    from ..cohort.run import RunOrder, Summary

Run = Annotated[
    Path, typer.Option("-o", "--out", metavar="RUN", help="The run folder to make or to go on with.")
]
PatchSize = Annotated[
    int | None, typer.Option(metavar="PX", help="Side of a patch. [default: from the encoder card]")
]
Mpp = Annotated[
    float | None,
    typer.Option(
        "--mpp", metavar="UM", help="Spacing of a patch, µm per px. [default: from the encoder card]"
    ),
]
Overlap = Annotated[
    float | None, typer.Option(metavar="F", help="Overlap of neighbours, 0 to 1. [default: 0]")
]
MinTissue = Annotated[
    float | None, typer.Option(metavar="F", help="Least tissue fraction of a patch, 0 to 1. [default: 0.25]")
]
Padding = Annotated[
    bool | None,
    typer.Option("--padding", help="Keep patches that overhang the slide's edge.", show_default=False),
]
Upsampling = Annotated[
    bool, typer.Option("--allow-upsampling", help="Accept slides coarser than the patch spacing.")
]
VolumePx = Annotated[int | None, typer.Option(metavar="PX", help="Patch side for CT and MR. [default: 64]")]
VolumeMm = Annotated[
    float | None, typer.Option(metavar="MM", help="Patch spacing for CT and MR, mm per px. [default: 3]")
]
Scaling = Annotated[
    str | None, typer.Option(metavar="KIND", help="Voxels to grey: ct, mr or auto. [default: auto]")
]
Force = Annotated[
    bool | None,
    typer.Option(
        "--force-spacing", help="Accept a spacing the encoder was not made for.", show_default=False
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(metavar="F", help="Fraction of unreadable patches at which a slide fails. [default: 0.01]"),
]
Identity = Annotated[
    str | None,
    typer.Option(
        metavar="HOW", help="Know large files again by samples (fast) or all bytes (full). [default: fast]"
    ),
]
Stain = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="Normalise H&E: macenko, vahadane, ruifrok, reinhard or none. [default: from the encoder card]",
    ),
]
StainTarget = Annotated[
    Path | None,
    typer.Option(
        metavar="SLIDE", help="What slides are made to look like. [default: the built-in reference]"
    ),
]
Unnormalised = Annotated[
    bool | None,
    typer.Option(
        "--allow-unnormalised",
        help="Encode slides whose stain cannot be normalised as they are, instead of failing them.",
        show_default=False,
    ),
]
Icc = Annotated[
    bool | None,
    typer.Option(
        "--icc", help="Take colours to sRGB by the slide's own profile, where it has one.", show_default=False
    ),
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings as YAML.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="One setting, e.g. patch.overlap=0.5.")
]
Exclude = Annotated[
    str | None,
    typer.Option(metavar="RULES", help="Leave out patches that show pen or are out of focus: pen,blur."),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="KIND", help="What a foundation model computes in: fp32, bf16, fp16, or auto. [default: fp32]"
    ),
]


def run(
    inputs: Inputs,
    out: Run,
    encoder: Encoder = None,
    patch_size: PatchSize = None,
    mpp: Mpp = None,
    overlap: Overlap = None,
    min_tissue: MinTissue = None,
    padding: Padding = None,
    slide_mpp: SlideMpp = None,
    allow_upsampling: Upsampling = False,
    volume_px: VolumePx = None,
    volume_mm: VolumeMm = None,
    scaling: Scaling = None,
    force_spacing: Force = None,
    max_unreadable: Budget = None,
    identity: Identity = None,
    segmenter: Segmenter = None,
    roi: Roi = None,
    roi_class: RoiClass = None,
    exclude: Exclude = None,
    stain: Stain = None,
    stain_target: StainTarget = None,
    allow_unnormalised: Unnormalised = None,
    icc: Icc = None,
    precision: Precision = None,
    workers: Workers = None,
    readers: Readers = None,
    timeout: Timeout = None,
    reader_memory: ReaderMemory = None,
    batch_size: BatchSize = None,
    device: Devices = "auto",
    dask: Dask = "",
    config: Config = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Read, encode and store every slide and volume; skip what is done, survive what is broken."""
    ask = resolve_command(locals())
    from ..cohort.config import Execution
    from ..cohort.run import RunOrder

    execution = Execution.given(
        workers=workers,
        batch_size=batch_size or 0,
        device=device,
        readers=readers,
        timeout=timeout,
        memory_gb=reader_memory,
    )
    runs = ask.runs(out)
    execute([RunOrder(ask.found.inputs, config, run, execution, dask) for run, config in runs], json)


def plan(
    inputs: Inputs,
    out: Run,
    encoder: Encoder = None,
    patch_size: PatchSize = None,
    mpp: Mpp = None,
    overlap: Overlap = None,
    min_tissue: MinTissue = None,
    padding: Padding = None,
    slide_mpp: SlideMpp = None,
    allow_upsampling: Upsampling = False,
    volume_px: VolumePx = None,
    volume_mm: VolumeMm = None,
    scaling: Scaling = None,
    force_spacing: Force = None,
    max_unreadable: Budget = None,
    identity: Identity = None,
    segmenter: Segmenter = None,
    roi: Roi = None,
    roi_class: RoiClass = None,
    exclude: Exclude = None,
    stain: Stain = None,
    stain_target: StainTarget = None,
    allow_unnormalised: Unnormalised = None,
    icc: Icc = None,
    timeout: Timeout = None,
    reader_memory: ReaderMemory = None,
    precision: Precision = None,
    config: Config = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Say what `run` would do and why, and do nothing."""
    ask = resolve_command(locals())
    from ..cohort.config import Execution, check_config
    from ..cohort.ledger import read_entries
    from ..cohort.run import RunOrder, require_same_patches
    from ..features.encoder import card_of

    limits = Execution.given(timeout=timeout, memory_gb=reader_memory)
    orders = [RunOrder(ask.found.inputs, asked, run, limits) for run, asked in ask.runs(out)]
    require_same_patches(orders)
    planned = []
    for order in orders:
        card = card_of(order.config.encoder)
        check_config(order.run, order.config, card)
        planned.append(list(order.planner(card, read_entries(order.run)).steps(order.inputs)))
    if json:
        plans = [_planned(order, steps) for order, steps in zip(orders, planned, strict=True)]
        show_json(plans[0] if len(plans) == 1 else {"runs": plans})
        return
    for order, steps in zip(orders, planned, strict=True):
        where = f"{order.run}: " if len(orders) > 1 else ""
        show_table(
            f"{where}{sum(step.todo for step in steps)} of {len(steps)} to do",
            ("slide", "kind", "", "why"),
            [(s.input.slide_id, s.input.kind, "to do" if s.todo else "up to date", s.reason) for s in steps],
        )


def _planned(order: RunOrder, steps: Sequence[Step]) -> dict[str, Any]:
    rows = [_row(step) for step in steps]
    return {"run": str(order.run), "config": order.config.to_dict(), "steps": rows}


def execute(orders: Sequence[RunOrder], json: bool) -> None:
    """Run, show how it goes, and report; leaves with 3 where an input failed."""
    from ..cohort.run import run_together
    from .progress import RunProgress

    with RunProgress() as progress:
        summaries = run_together(orders, progress)
    ended = [(order.run, summary) for order, summary in zip(orders, summaries, strict=True)]
    if json:
        told = [_told(run, summary, progress.patches_per_second) for run, summary in ended]
        show_json(told[0] if len(told) == 1 else {"runs": told})
    else:
        for run, summary in ended:
            _report(run, summary)
    if any(summary.failures for summary in summaries):
        raise typer.Exit(3)


def _counts(summary: Summary) -> Counter[str]:
    counts = Counter(outcome.status for outcome in summary.outcomes)
    counts["up_to_date"] = sum(not step.todo for step in summary.steps)
    return counts


def _told(run: Path, summary: Summary, rate: float) -> dict[str, Any]:
    return {
        "run": str(run),
        "counts": dict(_counts(summary)),
        "patches_per_second": round(rate, 1),
        "up_to_date": [_why(step) for step in summary.steps if not step.todo],
        "outcomes": [outcome.to_dict() for outcome in summary.outcomes],
    }


def _report(run: Path, summary: Summary) -> None:
    counted = sorted(_counts(summary).items())
    told = [f"{count} {name.replace('_', ' ')}" for name, count in counted if count]
    say(f"{run}: {', '.join(told) or 'nothing to do'}.")
    show_failures(summary.failures)


def _row(step: Step) -> dict[str, Any]:
    from ..text import printable

    asked = step.input.to_dict() | {"path": printable(step.input.path)}
    same_as = step.twin.slide_id if step.twin else ""
    return asked | {"todo": step.todo, "reason": step.reason, "same_as": same_as}


def _why(step: Step) -> dict[str, str]:
    return {"slide_id": step.input.slide_id, "reason": step.reason}
