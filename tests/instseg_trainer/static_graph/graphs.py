"""Models with the reference kit's seeded weights, small inputs, and their static graphs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import paddle

from instseg_trainer.engine.inputs import sized_input
from instseg_trainer.models import build_model
from instseg_trainer.models.base import InstanceSegmentationModel
from instseg_trainer.models.detections import Detections
from instseg_trainer.static_graph import StaticGraph
from tests.reference_kit import ReferenceModel

SMALL = {"stretch": (160, 160), "keep_ratio": (160, 256)}
LOWER_THRESHOLDS = {"Cascade-MaskRCNN-ResNet50-FPN": 0.01, "MaskRCNN-ResNet50": 0.03}
"""Of models that find nothing, or hardly anything, in a small image with these weights."""
LABELS = tuple(f"class {number}" for number in range(80))


def seeded_model(shared: Path, name: str) -> InstanceSegmentationModel:
    model = build_model(name, len(LABELS))
    model.set_state_dict(ReferenceModel.load(shared, name).seeded_state())
    if name in LOWER_THRESHOLDS:
        lower_threshold(model, LOWER_THRESHOLDS[name])
    return small(model)


def small(model: InstanceSegmentationModel) -> InstanceSegmentationModel:
    model.input_spec = sized_input(model.input_spec, SMALL[model.input_spec.resize])
    model.eval()
    return model


def predicted(model: InstanceSegmentationModel, image: np.ndarray) -> Detections:
    """By the dynamic graph; image (H, W, 3) uint8 RGB."""
    pixels, sizes = model.input_spec.batch([image])
    height, width = image.shape[:2]
    return model.predict(paddle.to_tensor(pixels), [(height, width)], input_sizes=sizes)[0]


def graph_inputs(model: InstanceSegmentationModel, image: np.ndarray) -> tuple[paddle.Tensor, ...]:
    """As PaddleX makes them."""
    pixels, ((height, width),) = model.input_spec.batch([image])
    scale = [height / image.shape[0], width / image.shape[1]]
    im_shape, scale_factor = (paddle.to_tensor([values], dtype="float32") for values in ([height, width], scale))
    return im_shape, paddle.to_tensor(pixels), scale_factor


def run_graph(folder: Path, inputs: tuple[paddle.Tensor, ...]) -> list[np.ndarray]:
    graph = paddle.jit.load(str(folder / "inference"))
    graph.eval()
    return [output.numpy() for output in graph(*inputs)]


def found_in(outputs: list[np.ndarray]) -> Detections:
    """The outputs of a graph; SOLOv2 gives no boxes."""
    if len(outputs) == 4:
        count, class_ids, scores, masks = outputs
        boxes = np.zeros((len(scores), 4), np.float32)
    else:
        rows, count, masks = outputs
        class_ids, scores, boxes = rows[:, 0].astype(np.int64), rows[:, 1], rows[:, 2:]
    assert count.dtype == np.int32
    assert count.tolist() == [len(scores)] == [len(masks)]
    assert {*np.unique(masks).tolist()} <= {0, 1}
    return Detections(class_ids, scores, boxes, masks.astype(bool))


def lower_threshold(model: InstanceSegmentationModel, threshold: float) -> None:
    model.decode = dataclasses.replace(model.decode, score_threshold=threshold)


def save_graph(model: InstanceSegmentationModel, name: str, folder: Path) -> None:
    StaticGraph(model, name, LABELS[: model.num_classes]).save(folder)
