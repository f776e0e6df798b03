"""`curves.png`: losses, learning rate and accuracy of a training over its iterations."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = "curves.png"
_NOT_LOSSES = {"iteration", "epoch", "learning_rate", "data_s", "compute_s"}
_SHOWN_PARTS = 8  # more lines cannot be told apart
_POINTS = 200  # the mean of as many neighbours is drawn that so many of them do not overlap


@dataclass
class Curves:
    """Points (iteration, value) by name, in the order of the file."""

    losses: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    learning_rate: list[tuple[int, float]] = field(default_factory=list)
    accuracy: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def read_curves(metrics: Path) -> Curves:
    """From `metrics.jsonl`; a last line that was cut short is left out."""
    curves = Curves()
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        iteration = record["iteration"]
        if "learning_rate" in record:
            curves.learning_rate.append((iteration, record["learning_rate"]))
            target, names = curves.losses, record.keys() - _NOT_LOSSES
        else:
            target, names = curves.accuracy, record.keys() - _NOT_LOSSES
        for name in sorted(names):
            target.setdefault(name, []).append((iteration, record[name]))
    return curves


def shown_parts(losses: Mapping[str, Sequence[tuple[int, float]]]) -> list[str]:
    """The parts of the loss that are drawn, the largest on average first; of many, those of the final layer."""
    parts = [name for name in losses if name != "loss"]
    if len(parts) > _SHOWN_PARTS:
        parts = [name for name in parts if not name.endswith(("_aux", "_dn"))] or parts
    means = {name: float(np.mean([value for _, value in losses[name]])) for name in parts}
    return sorted(parts, key=lambda name: -means[name])[:_SHOWN_PARTS]


def smoothed(values: Sequence[float]) -> NDArray[np.float64]:
    """Each value's mean with its neighbours, fewer at the ends; of short curves the values themselves."""
    array = np.asarray(values, np.float64)
    reach = len(array) // _POINTS
    total = np.concatenate([[0.0], np.cumsum(array)])
    place = np.arange(len(array))
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(array))
    return (total[high] - total[low]) / (high - low)


def draw_curves(output: Path, title: str) -> None:
    """Draws `metrics.jsonl` of the output folder. Raises OSError."""
    # Not pyplot: it looks for a screen and keeps figures.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves = read_curves(output / "metrics.jsonl")
    figure = Figure(figsize=(9, 10), layout="constrained")
    figure.suptitle(title)
    upper, middle, lower = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 2))
    for name in ["loss", *shown_parts(curves.losses)]:
        points = curves.losses.get(name, [])
        if points:
            iterations, values = zip(*points, strict=True)
            label = name.removeprefix("loss_")
            upper.plot(iterations, smoothed(values), label=label, linewidth=2.0 if name == "loss" else 1.0)
    # The parts are of very different sizes; what is 0 has no place here and is left out.
    upper.set_yscale("log", nonpositive="mask")
    upper.set_ylabel("loss")
    if curves.learning_rate:
        middle.plot(*zip(*curves.learning_rate, strict=True), color="black")
    middle.set_ylabel("learning rate")
    middle.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    for name, points in curves.accuracy.items():
        lower.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name.replace("_ap", " AP"))
    lower.set_ylim(0.0, 1.02)
    lower.set_ylabel("AP on val")
    lower.set_xlabel("iteration")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (upper, middle, lower):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    canvas = FigureCanvasAgg(figure)
    temporary = output / f".{FILE}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            canvas.print_png(file)
        temporary.replace(output / FILE)
    finally:
        temporary.unlink(missing_ok=True)
