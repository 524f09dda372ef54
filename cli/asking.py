"""What `run` and `plan` are asked for: inputs and configuration, from a command's parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import UsageError
from .output import note

if TYPE_CHECKING:
    from ..cohort.config import RunConfig
    from ..cohort.inputs import Found


@dataclass(frozen=True)
class Ask:
    """What the command line asks for, resolved: inputs, and a configuration for each encoder."""

    found: Found
    configs: tuple[RunConfig, ...]

    def runs(self, out: Path) -> list[tuple[Path, RunConfig]]:
        """The run folder of each configuration: `out`, or where there are several, one in it for each.

        Raises:
            UsageError: two encoders of one name, or `out` is the run folder of one encoder.
        """
        from ..cohort.config import FILE
        from ..features.encoder import known_card

        if len(self.configs) == 1:
            return [(out, self.configs[0])]
        if (out / FILE).exists():
            raise UsageError(
                f"{out} is the run folder of one encoder.", "Name another folder for several with -o."
            )
        names = [quote(known_card(config.encoder).name, safe="") for config in self.configs]
        if len(set(names)) < len(names):
            raise UsageError(f"Two encoders have one name: {', '.join(names)}.", "Name each encoder once.")
        return [(out / name, config) for name, config in zip(names, self.configs, strict=True)]


def resolve_command(given: dict[str, Any]) -> Ask:
    """Inputs and configuration from a command's parameters."""
    from ..cohort.inputs import find_inputs
    from ..cohort.regions import check_regions
    from .encoding import note_licence
    from .settings import resolve

    upsampling = 1e9 if given["allow_upsampling"] else None
    flags = {
        "patch.size_px": given["patch_size"],
        "patch.spacing": given["mpp"],
        "patch.overlap": given["overlap"],
        "patch.min_tissue": given["min_tissue"],
        "patch.padding": given["padding"],
        "patch.max_upsampling": upsampling,
        "volume.size_px": given["volume_px"],
        "volume.spacing": given["volume_mm"] * 1000 if given["volume_mm"] else None,
        "volume.padding": given["padding"],
        "volume.max_upsampling": upsampling,
        "scaling": given["scaling"],
        "force_spacing": given["force_spacing"],
        "max_unreadable": given["max_unreadable"],
        "identity": given["identity"],
        "precision": given["precision"],
        "stain.method": given["stain"],
        "tissue.segmenter": given["segmenter"],
        "quality.exclude": _names(given["exclude"]),
        "roi": str(Path(given["roi"]).absolute()) if given["roi"] else None,
        "roi_class": given["roi_class"],
        "icc": given["icc"],
        "stain.allow_unnormalised": given["allow_unnormalised"],
    }
    names = given["encoder"] or [None]
    asked = [{**flags, "encoder": name} for name in names]
    device = given.get("device", "auto")
    configs = [resolve(given["config"], each, given["settings"] or [], device) for each in asked]
    if given["stain_target"]:
        stain = aimed(configs[0], given).stain
        configs = [replace(config, stain=stain) for config in configs]
    for config in configs:
        note_licence(config.encoder)
    found = find_inputs(given["inputs"], given["slide_mpp"])
    if found.ignored:
        note(f"{len(found.ignored)} files are neither slides nor volumes, e.g. {found.ignored[0].name}.")
    check_regions(configs[0].roi, found.inputs)
    return Ask(found, tuple(configs))


def aimed(config: RunConfig, given: dict[str, Any]) -> RunConfig:
    """The configuration with the slide of --stain-target as the target, from a command's parameters."""
    from ..cohort.config import Execution
    from ..cohort.inputs import find_inputs
    from ..cohort.staining import with_target

    target, *others = find_inputs([given["stain_target"]], given["slide_mpp"]).inputs
    if others:
        raise UsageError(f"{given['stain_target']} is {1 + len(others)} slides.", "Name one as the target.")
    limits = Execution.given(timeout=given["timeout"], memory_gb=given["reader_memory"])
    return with_target(config, target, limits)


def _names(text: str | None) -> list[str] | None:
    """`pen,blur` as names."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
