"""PaddleX runs the static graphs: in an environment of its own, with its own Paddle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.models.detections import Detections
from tests.long_tests import on_request
from tests.reference_kit import ReferenceModel, mask_iou, match_rows

from .graphs import LABELS, predicted, save_graph, seeded_model

PACKAGES = ("paddlex[base]==3.7.2", "paddlepaddle==3.2.2")
PYTHON = "INSTSEG_PADDLEX_PYTHON"
MODELS = (
    "PP-YOLOE_seg-S",
    "Mask-RT-DETR-S",
    "Mask-RT-DETR-L",
    "SOLOv2",
    "MaskRCNN-ResNet50-FPN",
    "MaskRCNN-ResNet50",
    "Cascade-MaskRCNN-ResNet50-FPN",
)
WITHOUT_ONEDNN = {"Mask-RT-DETR-L": {"PADDLE_PDX_ENABLE_MKLDNN_BYDEFAULT": "False"}}
"""Where oneDNN, which PaddleX has on by default for this model, computes something else: see docs/training.md."""


@pytest.fixture(scope="module")
def paddlex_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with PaddleX: the one that the environment variable names, or a new environment."""
    if PYTHON in os.environ:
        return os.environ[PYTHON]
    folder = tmp_path_factory.mktemp("paddlex") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", *PACKAGES], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"{' '.join(PACKAGES)} cannot be installed here: {done.stderr.splitlines()[-1:]}")
    return python


def clear_threshold(scores: np.ndarray) -> float:
    """Between two of the first scores, as far from both as can be had: no rounding takes one across."""
    ranked = np.sort(scores)[::-1][:21]
    assert len(ranked) > 1
    gaps = ranked[:-1] - ranked[1:]
    place = int(gaps[1:].argmax()) + 1 if len(gaps) > 1 else 0
    return float(ranked[place : place + 2].mean())


def run_paddlex(python: str, name: str, folder: Path, threshold: float, image: Path) -> dict[str, np.ndarray]:
    program, output = Path(__file__).with_name("paddlex_detections.py"), folder / "found.npz"
    command = [python, str(program), name, str(folder), str(threshold), str(output), str(image)]
    # Nothing of this environment, and no look-up of models on the network.
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    environment = kept | {"PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"} | WITHOUT_ONEDNN.get(name, {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(output) as file:
        return dict(file)


def cropped(found: Detections, index: int) -> np.ndarray:
    """PaddleX cuts each mask to its rounded box."""
    height, width = found.masks.shape[1:]
    x1, y1, x2, y2 = (round(float(side)) for side in found.boxes[index].clip(0, [width, height, width, height]))
    return found.masks[index, y1:y2, x1:x2]


@on_request
@pytest.mark.parametrize("name", MODELS)
def test_paddlex_finds_the_same(name: str, shared: Path, tmp_path: Path, paddlex_python: str) -> None:
    model = seeded_model(shared, name)
    pixels = ReferenceModel.load(shared, name).image_rgb("a")
    expected = predicted(model, pixels)
    save_graph(model, name, tmp_path)
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), pixels[..., ::-1])
    threshold = clear_threshold(expected.scores)
    found = run_paddlex(paddlex_python, name, tmp_path, threshold, image)

    kept = np.flatnonzero(expected.scores > threshold)
    assert len(found["scores"]) == len(kept) > 1
    assert found["labels"].tolist() == [LABELS[number] for number in found["class_ids"]]
    rows = np.column_stack([expected.class_ids, expected.scores, expected.boxes])[kept]
    height, width = pixels.shape[:2]
    rows[:, 2:] = rows[:, 2:].clip(0, [width, height, width, height])
    is_solov2 = not len(found["boxes"])
    if is_solov2:
        rows[:, 2:] = 0
    boxes = np.zeros((len(kept), 4)) if is_solov2 else found["boxes"]
    matches = match_rows(rows, found["class_ids"], found["scores"], boxes)
    assert sorted(matches) == list(range(len(kept)))
    np.testing.assert_allclose(found["scores"][matches], rows[:, 1], atol=1e-4)
    np.testing.assert_allclose(boxes[matches], rows[:, 2:], atol=0.05)
    for place, index in zip(matches, kept, strict=True):
        mask = found[f"mask_{place}"]
        other = expected.masks[index] if is_solov2 else cropped(expected, index)
        assert mask.shape == other.shape
        assert mask_iou(mask, other) > 0.99
