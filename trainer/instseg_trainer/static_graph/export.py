"""The static graph of any weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from instseg_export.errors import ExportError
from instseg_export.labels import default_labels, read_labels
from instseg_export.stages import family_stages
from instseg_export.trained import TrainedWeights, find_trained, read_inference
from instseg_rt.models import find_model
from instseg_rt.official_weights import find_weights

from ..config import Config, load_config
from ..engine.inputs import sized_input
from ..models import build_model
from ..models.base import InstanceSegmentationModel
from ..weights import load_weights, read_pdparams
from .save import StaticGraph


@dataclass(frozen=True)
class _Described:
    """labels: of the classes. image_size: that the weights were trained at; None: the model's own."""

    labels: tuple[str, ...]
    image_size: list[int] | None


def export_static_graph(config: Config, say: Callable[[str], None]) -> Path:
    """Puts the static graph of `Export.weight_path` into `Global.output`, where PaddleX's export puts it; returns that.

    Labels and the input's size are those that the weights were trained with, as far as files beside them tell.
    Raises `ExportError` and `WeightsError`.
    """
    name, output = config.Global.model, Path(config.Global.output)
    trained = find_trained(find_weights(config.Export.weight_path, name, say))
    arrays = read_pdparams(trained.file)
    classifier = family_stages(find_model(name).family).classifier
    if classifier not in arrays:
        raise ExportError(f"{trained.file}: not weights of {name}: {classifier} is missing")
    num_classes = int(arrays[classifier].shape[0])
    described = _describe(config, trained, num_classes)
    if len(described.labels) != num_classes:
        raise ExportError(f"{trained.file}: {num_classes} classes, but {len(described.labels)} labels beside it")
    model: InstanceSegmentationModel = build_model(name, num_classes)
    load_weights(model, arrays, source=str(trained.file))
    model.input_spec = sized_input(model.input_spec, described.image_size)
    say(f"tracing the static graph of {name}")
    StaticGraph(model, name, described.labels).save(output)
    return output


def _describe(config: Config, trained: TrainedWeights, num_classes: int) -> _Described:
    labels = default_labels(num_classes).names
    size = config.Recipe.image_size
    if trained.inference is not None and trained.config is None:
        found, trained_size = read_inference(trained.inference, config.Global.model)
        labels, size = found.names, size if trained_size is None else list(trained_size)
    if trained.categories is not None:
        labels = read_labels(trained.categories).names
    if trained.config is not None:
        size = load_config(str(trained.config)).Recipe.image_size
    return _Described(labels, size)
