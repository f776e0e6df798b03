"""The static graphs of what a training left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ..config import Config
from ..engine.inputs import sized_input
from ..engine.saved_models import STATIC_GRAPH
from ..models import build_model
from ..models.base import InstanceSegmentationModel
from ..weights import load_weights, read_pdparams
from .save import StaticGraph


def save_trained_graphs(
    config: Config, labels: tuple[str, ...], weights: Iterable[Path], say: Callable[[str], None]
) -> None:
    """Puts a folder `inference` with a static graph beside each of `weights` (`.pdparams`), all of one training.

    labels: of its classes. config: gives the model and the size of its input.
    """
    graph: StaticGraph | None = None
    for path in weights:
        model = _load_model(config, len(labels), path)
        if graph is None:
            say(f"tracing the static graph of {config.Global.model}")
            graph = StaticGraph(model, config.Global.model, labels)
        else:
            graph.replace_weights(model)
        graph.save(path.parent / STATIC_GRAPH)


def _load_model(config: Config, num_classes: int, weights: Path) -> InstanceSegmentationModel:
    model = build_model(config.Global.model, num_classes)
    load_weights(model, read_pdparams(weights), source=str(weights))
    model.input_spec = sized_input(model.input_spec, config.Recipe.image_size)
    return model
