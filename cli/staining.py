"""`stain-report`: what stain normalisation does to a cohort, before it is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SlidestreamError, UsageError
from .asking import aimed
from .options import Device, Inputs, Json, ReaderMemory, SlideMpp, Timeout
from .output import note, say, show_failures, show_json
from .running import Config, Set, StainTarget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..cohort.config import RunConfig
    from ..cohort.inputs import Input
    from ..cohort.staining import StainLook
    from ..mil.labels import Labels
    from ..report.stain_effect import StainEffect
    from ..report.stain_report import StainReport
    from ..report.told_apart import Apart, Means
    from ..stain.spec import StainSpec

    Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

METHOD = "macenko"


@dataclass(frozen=True)
class _Failed:
    """One slide that could not be read."""

    slide_id: str
    error: SlidestreamError

    @property
    def code(self) -> str:
        return self.error.code

    @property
    def cause(self) -> str:
        return self.error.cause

    @property
    def fix(self) -> str:
        return self.error.fix


@dataclass(frozen=True)
class _Groups:
    """Which group slides are of, if they are asked for, and what is needed to tell them."""

    column: str = ""
    labels: Labels | None = None
    embed: Embed | None = None
    of: dict[str, str] = field(default_factory=dict)
    means: Means = field(default_factory=dict)

    def learn(self, effect: StainEffect) -> None:
        """Keep the mean embeddings of a slide that is of a group."""
        if self.embed and effect.slide in self.of and len(effect.before):
            before, after = (self.embed(p).mean(axis=0, dtype="f8") for p in (effect.before, effect.after))
            self.means[effect.slide] = before, after

    def apart(self) -> Apart | None:
        from ..report.told_apart import compare

        return compare(self.column, self.labels, self.means) if self.labels else None


def stain_report(
    inputs: Inputs,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the report.")],
    stain: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="macenko, vahadane, ruifrok or reinhard. [default: macenko]"),
    ] = None,
    stain_target: StainTarget = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Columns slide, patient and the group's, to see if it can be told."),
    ] = None,
    column: Annotated[str, typer.Option(metavar="NAME", help="The group's column in --labels.")] = "scanner",
    encoder: Annotated[
        str | None, typer.Option(help="Whose embeddings may tell the group. [default: texture]")
    ] = None,
    slide_mpp: SlideMpp = None,
    timeout: Timeout = None,
    reader_memory: ReaderMemory = None,
    device: Device = "auto",
    config: Config = None,
    settings: Set = None,
    json: Json = False,
) -> None:
    """Show slides before and after stain normalisation, and how well their scanner or site can be told.

    Writes stain.html, which needs no other file, stain.csv and contact sheets. INPUT may be a run folder: its
    slides are read as it says. A stain that cannot be normalised is shown as such and is no failure.
    """
    given = locals()
    from ..cohort.config import Execution
    from ..cohort.staining import looks
    from ..report.stain_report import StainReport

    asked, method = _configuration(given)
    slides = _slides(inputs, slide_mpp)
    groups = _groups(given, asked, slides)
    limits = Execution.given(timeout=timeout, memory_gb=reader_memory)
    with StainReport(out, method.target, len(slides)) as report:
        failed = _fill(report, looks(slides, asked, method.method, limits), method, groups)
    _finish(report, failed, groups.apart(), given)


def _configuration(given: dict[str, Any]) -> tuple[RunConfig, StainSpec]:
    """How slides are read, and what is asked of their stain: of a run folder, a file, flags and --set."""
    from ..cohort.config import FILE
    from ..stain.reference import reference
    from ..stain.spec import StainSpec
    from .settings import resolve

    run = given["inputs"][0] / FILE
    file = given["config"] or (run if _is_run(given["inputs"]) else None)
    stain = {"method": given["stain"]} if given["stain"] else None
    config = resolve(file, {"encoder": given["encoder"], "stain": stain}, given["settings"] or [])
    if config.stain is None:
        config = replace(config, stain=StainSpec(METHOD, reference(METHOD)))
    if given["stain_target"]:
        config = aimed(config, given)
    assert config.stain
    return config, config.stain


def _is_run(inputs: Sequence[Path]) -> bool:
    from ..cohort.config import FILE

    return len(inputs) == 1 and (inputs[0] / FILE).is_file()


def _slides(inputs: list[Path], slide_mpp: float | None) -> list[Input]:
    from ..cohort.inputs import find_inputs
    from ..cohort.ledger import read_entries

    if _is_run(inputs):
        found = [entry.input for entry in read_entries(inputs[0]).values() if entry.input]
    else:
        found = find_inputs(inputs, slide_mpp).inputs
    slides = [item for item in found if item.kind == "slide"]
    if not slides:
        raise UsageError("There are no slides among the inputs.", "Volumes have no stain.")
    if len(slides) < len(found):
        note(f"{len(found) - len(slides)} volumes have no stain and are left out.")
    return slides


def _groups(given: dict[str, Any], config: RunConfig, slides: Sequence[Input]) -> _Groups:
    """What --labels asks for.

    Raises:
        UsageError: the labels cannot be read or are of other slides, or the encoder gives no embeddings.
    """
    if not given["labels"]:
        return _Groups()
    from ..cohort.process import cached_embedder
    from ..features.encoder import card_of
    from ..mil.labels import read_labels

    labels = read_labels(given["labels"], given["column"]).only({item.slide_id for item in slides})
    if not labels.entries:
        raise UsageError(f"{given['labels']} names none of the slides.", "Its column slide holds their ids.")
    if not card_of(config.encoder).dim:
        raise UsageError(f"Encoder {config.encoder} gives no embeddings.", "Add --encoder texture.")
    embedder = cached_embedder(config.encoder, given["device"], config.precision)
    of = {entry.slide: entry.label for entry in labels.entries}
    return _Groups(given["column"], labels, lambda pixels: embedder(pixels, None), of)


def _fill(
    report: StainReport,
    seen: Iterable[tuple[Input, StainLook | SlidestreamError]],
    asked: StainSpec,
    groups: _Groups,
) -> list[_Failed]:
    """Show slide after slide; those that cannot be read are returned."""
    from ..report.stain_effect import StainEffect, normalised

    failed = []
    for item, look in seen:
        group = groups.of.get(item.slide_id, "")
        if isinstance(look, SlidestreamError):
            failed.append(_Failed(item.slide_id, look))
            report.fail(item.slide_id, group, look)
            note(f"{item.slide_id}: {look.code}")
            continue
        after = normalised(look.fit, asked.target, look.patches)
        effect = StainEffect(item.slide_id, group, look.fit, look.refused, look.patches, after)
        report.add(effect)
        groups.learn(effect)
        note(f"{item.slide_id}: {effect.outcome}")
    return failed


def _finish(
    report: StainReport, failed: Sequence[_Failed], apart: Apart | None, given: dict[str, Any]
) -> None:
    """Write, tell, and leave with 3 where a slide could not be read."""
    from ..report.stain_effect import FAILED, NORMALISED, REFUSED

    count = Counter(row["outcome"] for row in report.rows)
    counted = ", ".join(f"{count[outcome]} {outcome}" for outcome in (NORMALISED, REFUSED, FAILED))
    told = [f"{len(report.rows)} slides by {report.target.method}: {counted}."]
    told += [str(apart)] if apart else []
    report.write(told)
    if given["json"]:
        failures = [{"slide_id": f.slide_id, "code": f.code, "cause": f.cause, "fix": f.fix} for f in failed]
        told_apart = apart.to_dict() if apart else None
        document = {"out": str(given["out"]), "slides": report.rows, "told_apart": told_apart}
        show_json(document | {"failures": failures})
    else:
        for sentence in told:
            say(sentence)
        say(f"{given['out']}: stain.html, stain.csv and contact sheets.")
        show_failures(failed)
    if failed:
        raise typer.Exit(max(one.error.exit_code for one in failed))
