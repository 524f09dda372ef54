"""Loss curves of a training run."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..mil.history import Epoch
from .figures import CHANCE, INK
from .training_run import best_epoch

MOST_PANELS = 15
COLUMNS = 5


def loss_curves(runs: dict[int, list[Epoch]]) -> Figure:
    """A panel per head, or one for all where they are many; a dot marks the epoch that was kept."""
    panels = [[run] for run in runs.values()] if len(runs) <= MOST_PANELS else [list(runs.values())]
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.4 * max(columns, 3), 2.2 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    titles = [f"head {fold + 1}" for fold in runs] if len(panels) > 1 or len(runs) == 1 else ["all heads"]
    for axes, panel, title in zip(grid.flat, panels, titles, strict=False):
        _panel(axes, panel)
        axes.set_title(title, fontsize=9)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    grid[0, 0].legend(frameon=False, fontsize=7)
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel("loss", fontsize=9)
    return figure


def _panel(axes: Axes, runs: list[list[Epoch]]) -> None:
    for number, epochs in enumerate(runs):
        steps = [int(epoch["epoch"] or 0) + 1 for epoch in epochs]
        for name, ink in (("train_loss", CHANCE), ("validation_loss", INK)):
            values = [_number(epoch[name]) for epoch in epochs]
            if all(map(math.isnan, values)):
                continue
            label = name.replace("_loss", "") if number == 0 else None
            axes.plot(steps, values, color=ink, linewidth=1.0 if len(runs) == 1 else 0.5, label=label)
        kept = best_epoch(epochs)
        # Where nothing was set aside to stop by, the last epoch is kept: the dot is on the training loss.
        said = [epochs[kept][name] for name in ("validation_loss", "train_loss")]
        loss = next((value for value in said if value is not None), None)
        axes.plot(steps[kept], _number(loss), "o", color=INK, markersize=3.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.tick_params(labelsize=7)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
