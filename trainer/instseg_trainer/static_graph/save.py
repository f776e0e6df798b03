"""Writing `inference.json`, `inference.pdiparams` and `inference.yml`."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddle.static import InputSpec as TensorSpec

from ..models.base import InstanceSegmentationModel
from .description import describe
from .one_stage import MaskRTDETRGraph, PPYOLOESegGraph
from .regions import MaskRCNNGraph
from .solov2 import SOLOv2Graph

_STEM = "inference"
GRAPH, PARAMETERS, DESCRIPTION = (f"{_STEM}.{suffix}" for suffix in ("json", "pdiparams", "yml"))
STATIC_GRAPH_FILES = (GRAPH, PARAMETERS, DESCRIPTION)

_GRAPHS: dict[str, Callable[[Any], nn.Layer]] = {
    "ppyoloe_seg": PPYOLOESegGraph,
    "mask_rtdetr": MaskRTDETRGraph,
    "mask_rcnn": MaskRCNNGraph,
    "solov2": SOLOv2Graph,
}


class StaticGraph:
    """A model's graph, traced once, for any number of its weights.

    model: is folded for inference: it cannot be trained or saved by name any more. Its `input_spec` gives the graph's
    input: a fixed size where images are stretched, any where their ratio is kept. name: PaddleX's of the model.
    labels: of the classes, in the order of their numbers.
    """

    def __init__(self, model: InstanceSegmentationModel, name: str, labels: Sequence[str]) -> None:
        model.eval()
        model.fuse()
        self._model = model
        self._layer = _GRAPHS[model.family](model)
        self._layer.eval()
        self._description = describe(name, model.family, model.input_spec, labels)

    def replace_weights(self, model: InstanceSegmentationModel) -> None:
        """With those of a model of the same kind, which is folded too."""
        model.eval()
        model.fuse()
        self._model.set_state_dict(model.state_dict())

    def save(self, folder: Path) -> None:
        """Puts the files of `STATIC_GRAPH_FILES` into `folder`, each renamed when it is complete, the description last.

        Raises OSError.
        """
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{_STEM}.{os.getpid()}.tmp"
        temporary.mkdir()
        try:
            with _quiet():
                paddle.jit.save(self._layer, str(temporary / _STEM), input_spec=self._inputs())
            (temporary / DESCRIPTION).write_text(self._description, encoding="utf-8")
            for file in STATIC_GRAPH_FILES:
                (temporary / file).replace(folder / file)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _inputs(self) -> list[TensorSpec]:
        spec = self._model.input_spec
        height, width = (spec.height, spec.width) if spec.resize == "stretch" else (-1, -1)
        return [
            TensorSpec([-1, 2], "float32", "im_shape"),
            TensorSpec([-1, 3, height, width], "float32", "image"),
            TensorSpec([-1, 2], "float32", "scale_factor"),
        ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Paddle's remarks on how it traces."""
    level = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="paddle")
            yield
    finally:
        logging.disable(level)
