"""Whole-slide pathology from gigapixel slides to slide-level grades, in true microns.

Everything public can be imported from here; a name is loaded when it is first used, so that
`import slidestream` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .errors import SlidestreamError as SlidestreamError
    from .features.encoder import load_encoder as load_encoder
    from .features.store import open_store as open_store
    from .geometry import Region as Region
    from .mil.predict import predict_run as predict_run
    from .mil.spec import TrainSpec as TrainSpec
    from .mil.train import train as train
    from .radiology.volume import open_volume as open_volume
    from .report.heatmap import draw_heatmap as draw_heatmap
    from .stain.jitter import jitter_stain as jitter_stain
    from .tiling.grid import PatchGrid as PatchGrid
    from .tiling.overview import overview as overview
    from .tiling.spec import PatchSpec as PatchSpec
    from .tiling.stream import Reading as Reading
    from .tiling.stream import stream_patches as stream_patches
    from .wsi.slide import open_slide as open_slide

_HOMES = {
    "PatchGrid": "tiling.grid",
    "PatchSpec": "tiling.spec",
    "Reading": "tiling.stream",
    "Region": "geometry",
    "SlidestreamError": "errors",
    "TrainSpec": "mil.spec",
    "draw_heatmap": "report.heatmap",
    "jitter_stain": "stain.jitter",
    "load_encoder": "features.encoder",
    "open_slide": "wsi.slide",
    "open_store": "features.store",
    "open_volume": "radiology.volume",
    "overview": "tiling.overview",
    "predict_run": "mil.predict",
    "stream_patches": "tiling.stream",
    "train": "mil.train",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
