"""Static graphs give what the dynamic ones give, read by Paddle alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.models import build_model
from instseg_trainer.models.base import InstanceSegmentationModel
from instseg_trainer.models.detections import Detections
from instseg_trainer.static_graph import STATIC_GRAPH_FILES, StaticGraph
from tests.long_tests import on_request
from tests.reference_kit import ReferenceModel, mask_iou, match_rows

from .graphs import (
    LABELS,
    SMALL,
    found_in,
    graph_inputs,
    lower_threshold,
    predicted,
    run_graph,
    save_graph,
    seeded_model,
    small,
)

NAME = "PP-YOLOE_seg-N"


def new_model(seed: int) -> InstanceSegmentationModel:
    """Three classes, any weights, and low thresholds: something is found in noise."""
    paddle.seed(seed)
    model = build_model(NAME, 3)
    for name, parameter in model.named_parameters():
        # They start at 0: all scores and boxes would be alike.
        if name.startswith(("yolo_head.pred_cls", "yolo_head.pred_reg")) and parameter.ndim == 4:
            parameter.set_value(paddle.randn(parameter.shape) * 10.0)
    lower_threshold(model, 0.02)
    return small(model)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 121, 3)).astype(np.uint8)


def check_equal(actual: Detections, expected: Detections) -> None:
    rows = np.column_stack([expected.class_ids, expected.scores, expected.boxes])
    boxes = actual.boxes if actual.boxes.any() else np.zeros_like(expected.boxes)
    if not actual.boxes.any():
        rows[:, 2:] = 0  # SOLOv2
    assert len(actual.scores) == len(expected.scores) > 0
    matches = match_rows(rows, actual.class_ids, actual.scores, boxes)
    assert sorted(matches) == list(range(len(rows)))
    np.testing.assert_allclose(actual.scores[matches], rows[:, 1], atol=1e-5)
    np.testing.assert_allclose(boxes[matches], rows[:, 2:], atol=0.02)
    assert min(mask_iou(actual.masks[j], mask) for j, mask in zip(matches, expected.masks, strict=True)) > 0.999


@pytest.mark.slow
def test_graph_and_its_description(tmp_path: Path, noise: np.ndarray) -> None:
    first, second = new_model(1), new_model(2)
    expected = [predicted(model, noise) for model in (first, second)]
    inputs = graph_inputs(first, noise)
    graph = StaticGraph(first, NAME, LABELS[:3])
    graph.save(tmp_path / "first")
    graph.replace_weights(second)
    graph.save(tmp_path / "second")
    for folder, detections in zip(("first", "second"), expected, strict=True):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == sorted(STATIC_GRAPH_FILES)
        check_equal(found_in(run_graph(tmp_path / folder, inputs)), detections)
    assert not np.array_equal(expected[0].scores, expected[1].scores)

    description = yaml.safe_load((tmp_path / "first" / "inference.yml").read_text())
    assert description["Global"] == {"model_name": NAME}
    assert description["label_list"] == list(LABELS[:3])
    assert [step["type"] for step in description["Preprocess"]] == ["Resize", "NormalizeImage", "Permute"]
    assert description["Preprocess"][0]["target_size"] == list(SMALL["stretch"])

    # More than one image is an error, not one image's result. Paddle runs operators side by side: which of them
    # complains first, that of one image's sizes or the choice of one image's rows, is not always the same.
    with pytest.raises((ValueError, IndexError), match=r"ReshapeOp|OutOfRangeError"):
        run_graph(tmp_path / "first", tuple(paddle.concat([tensor] * 2) for tensor in inputs))


@pytest.mark.slow
def test_where_nothing_is_found(tmp_path: Path, noise: np.ndarray) -> None:
    model = new_model(1)
    lower_threshold(model, 0.9)
    inputs = graph_inputs(model, noise)
    save_graph(model, NAME, tmp_path)
    rows, count, masks = run_graph(tmp_path, inputs)
    assert (rows.tolist(), count.tolist()) == ([[0.0] * 6], [1])
    assert masks.shape == (1, *noise.shape[:2])
    assert not masks.any()


@on_request
@pytest.mark.parametrize(
    "name",
    [
        "Mask-RT-DETR-S",
        "SOLOv2",
        "MaskRCNN-ResNet50-FPN",
        "MaskRCNN-ResNet50",
        "Cascade-MaskRCNN-ResNet50-FPN",
    ],
)
def test_graphs_of_all_families(name: str, shared: Path, tmp_path: Path) -> None:
    model = seeded_model(shared, name)
    image = ReferenceModel.load(shared, name).image_rgb("a")
    expected, inputs = predicted(model, image), graph_inputs(model, image)
    save_graph(model, name, tmp_path)
    check_equal(found_in(run_graph(tmp_path, inputs)), expected)
