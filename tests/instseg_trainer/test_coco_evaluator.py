"""COCO metrics: pycocotools' numbers on the same detections."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from instseg_trainer.data import DataError
from instseg_trainer.evaluation import CocoEvaluator, CocoScores, encode_masks

Detections = dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]]


def random_detections(annotation_file: Path, seed: int) -> Detections:
    """Per image: ground truth moved a little, some with a wrong class, some doubled, and some invented.

    A few scores are equal, some images have none, one has more than 100.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotation_file))
    rng = np.random.default_rng(seed)
    categories = sorted(truth.getCatIds())
    result: Detections = {}
    for number, image_id in enumerate(truth.getImgIds()):
        image = truth.imgs[image_id]
        height, width = image["height"], image["width"]
        boxes, scores, category_ids, masks = [], [], [], []

        def invent(mask: np.ndarray, category_id: int) -> None:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            if not len(rows):
                return
            box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) + rng.normal(0, 2, 4)
            boxes.append(box)  # noqa: B023
            scores.append(np.round(rng.uniform(), 2))  # noqa: B023
            category_ids.append(category_id)  # noqa: B023
            masks.append(mask)  # noqa: B023

        for annotation in truth.imgToAnns[image_id]:
            mask = truth.annToMask(annotation)
            for _ in range(rng.integers(0, 3)):
                shift = tuple(int(step) for step in rng.integers(-6, 7, 2))
                wrong = rng.uniform() < 0.1
                category_id = int(rng.choice(categories)) if wrong else annotation["category_id"]
                invent(np.roll(mask, shift, axis=(0, 1)), category_id)
        for _ in range(120 if number == 3 else rng.integers(0, 4)):
            mask = np.zeros((height, width), dtype=np.uint8)
            top, left = int(rng.integers(0, height - 20)), int(rng.integers(0, width - 20))
            mask[top : top + int(rng.integers(4, 150)), left : left + int(rng.integers(4, 150))] = 1
            invent(mask, int(rng.choice(categories)))
        if number % 7 != 5 and boxes:
            rles = encode_masks(np.stack(masks))
            result[image_id] = (np.array(boxes), np.array(scores), np.array(category_ids), rles)
    return result


def pycocotools_scores(annotation_file: Path, entries: list[dict[str, Any]], kind: str) -> CocoScores:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotation_file))
        run = COCOeval(truth, truth.loadRes(copy.deepcopy(entries)), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return CocoScores(*run.stats.tolist())


def as_entries(detections: Detections, kind: str) -> list[dict[str, Any]]:
    entries = []
    for image_id, (boxes, scores, category_ids, rles) in detections.items():
        for box, score, category_id, rle in zip(boxes, scores, category_ids, rles, strict=True):
            entry: dict[str, Any] = {
                "image_id": image_id,
                "category_id": int(category_id),
                "score": float(score),
            }
            if kind == "segm":
                entry["segmentation"] = rle
            else:
                entry["bbox"] = [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]
            entries.append(entry)
    return entries


def evaluator_with(annotation_file: Path, detections: Detections) -> CocoEvaluator:
    evaluator = CocoEvaluator(annotation_file)
    for image_id, found in detections.items():
        evaluator.add(image_id, *found)
    return evaluator


def assert_equal_scores(scores: CocoScores, expected: CocoScores) -> None:
    assert dataclasses.asdict(scores) == pytest.approx(dataclasses.asdict(expected), abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_pycocotools_on_coco_with_crowds(shared: Path, seed: int, tmp_path: Path) -> None:
    annotation_file = shared / "datasets" / "coco_tiny100" / "annotations" / "instance_val.json"
    detections = random_detections(annotation_file, seed)
    evaluator = evaluator_with(annotation_file, detections)
    metrics = evaluator.evaluate()
    masks = pycocotools_scores(annotation_file, as_entries(detections, "segm"), "segm")
    assert 0.1 < metrics.mask.ap < 0.9
    assert_equal_scores(metrics.mask, masks)
    assert_equal_scores(metrics.box, pycocotools_scores(annotation_file, as_entries(detections, "bbox"), "bbox"))
    present = list(metrics.mask_ap_per_category.values())
    assert np.mean(present) == pytest.approx(metrics.mask.ap, abs=1e-6)

    saved = tmp_path / "detections.json"
    evaluator.save(saved)
    assert [path.name for path in tmp_path.iterdir()] == ["detections.json"]
    assert_equal_scores(pycocotools_scores(annotation_file, json.loads(saved.read_text()), "segm"), masks)
    assert CocoEvaluator.from_detections_file(annotation_file, saved).evaluate() == metrics


def test_equals_pycocotools_on_a_synthetic_set(synthetic: Path) -> None:
    annotation_file = synthetic / "annotations" / "instance_train.json"
    detections = random_detections(annotation_file, 5)
    metrics = evaluator_with(annotation_file, detections).evaluate()
    assert_equal_scores(metrics.mask, pycocotools_scores(annotation_file, as_entries(detections, "segm"), "segm"))
    assert_equal_scores(metrics.box, pycocotools_scores(annotation_file, as_entries(detections, "bbox"), "bbox"))
    assert metrics.mask.ap_large == -1
    assert set(metrics.mask_ap_per_category) == {3, 7}
    assert metrics.as_dict()["mask"]["ap50"] == metrics.mask.ap50
    assert f"mask: AP {metrics.mask.ap:.4f}" in str(metrics)


def truth_as_detections(annotation_file: Path) -> Detections:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotation_file))
    result: Detections = {}
    for image_id, instances in truth.imgToAnns.items():
        boxes = np.array([instance["bbox"] for instance in instances])
        boxes[:, 2:] += boxes[:, :2]
        masks = np.stack([truth.annToMask(instance) for instance in instances])
        categories = np.array([instance["category_id"] for instance in instances])
        result[image_id] = (boxes, np.ones(len(boxes)), categories, encode_masks(masks))
    return result


@pytest.mark.filterwarnings("error:Found annotation id 0")
def test_perfect_detections_score_one_even_with_annotation_id_0(editable: Path) -> None:
    annotation_file = editable / "annotations" / "instance_train.json"
    detections = truth_as_detections(annotation_file)
    document = json.loads(annotation_file.read_text())
    for annotation in document["annotations"]:
        annotation["id"] -= 1
        annotation.pop("area")
    annotation_file.write_text(json.dumps(document))
    metrics = evaluator_with(annotation_file, detections).evaluate()
    assert metrics.mask.ap == pytest.approx(1.0)
    assert metrics.box.ap == pytest.approx(1.0)
    assert metrics.mask.ar100 == pytest.approx(1.0)


def test_no_detections_score_zero(synthetic: Path) -> None:
    annotation_file = synthetic / "annotations" / "instance_train.json"
    assert CocoEvaluator(annotation_file).evaluate().mask.ap == 0
    evaluator = CocoEvaluator(annotation_file)
    evaluator.add(0, np.zeros((0, 4)), [], [], encode_masks(np.zeros((0, 160, 200), dtype=np.uint8)))
    assert evaluator.evaluate().box.ap == 0


def test_encoded_masks_decode_to_the_same(synthetic: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (5, 13, 17)).astype(bool)
    for mask, rle in zip(masks, encode_masks(masks), strict=True):
        assert isinstance(rle["counts"], str)
        assert np.array_equal(coco_mask.decode({**rle, "counts": rle["counts"].encode()}), mask)


Edit = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image_id": 99}, "no image has the id 99"),
        ({"boxes": np.zeros((2, 4))}, "differ in number"),
        ({"scores": [np.nan]}, "finite"),
        ({"category_ids": [4]}, "category id 4 is not in"),
        ({"rles": [{"size": [9, 9], "counts": "1"}]}, "expected \\[160, 200\\]"),
    ],
)
def test_wrong_detections_are_refused(synthetic: Path, change: dict[str, Any], reason: str) -> None:
    evaluator = CocoEvaluator(synthetic / "annotations" / "instance_train.json")
    right = {
        "image_id": 0,
        "boxes": [[1, 2, 3, 4]],
        "scores": [0.5],
        "category_ids": [3],
        "rles": encode_masks(np.ones((1, 160, 200), dtype=np.uint8)),
    }
    with pytest.raises(DataError, match=reason):
        evaluator.add(**{**right, **change})
    evaluator.add(**right)
    with pytest.raises(DataError, match="already has its detections"):
        evaluator.add(**right)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not a valid JSON"),
        ("{}", "expected a list"),
        ("[3]", "detection 0: a int"),
        ([{"image_id": "0"}], "detection 0: image_id '0'"),
        ([{"image_id": 0, "category_id": 4}], "category_id 4"),
        ([{"image_id": 0, "category_id": 3, "score": None}], "score is None"),
        ([{"image_id": 0, "category_id": 3, "score": 1, "bbox": [0, 0, 1, 1]}], "compressed RLE"),
        (
            [
                {
                    "image_id": 0,
                    "category_id": 3,
                    "score": 1,
                    "segmentation": {"size": [160, 200], "counts": "o"},
                }
            ],
            "detection 0: segmentation: compressed RLE ends",
        ),
    ],
)
def test_wrong_detection_files_are_refused(synthetic: Path, tmp_path: Path, content: Any, reason: str) -> None:
    path = tmp_path / "detections.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=reason) as caught:
        CocoEvaluator.from_detections_file(synthetic / "annotations" / "instance_train.json", path)
    assert str(path) in str(caught.value)


def test_annotations_that_cannot_be_drawn_are_refused_or_left_out(editable: Path) -> None:
    annotation_file = editable / "annotations" / "instance_train.json"
    document = json.loads(annotation_file.read_text())
    detections = truth_as_detections(annotation_file)
    document["annotations"][0]["segmentation"] = [[1, 1, 5, 5]]
    annotation_file.write_text(json.dumps(document))
    assert evaluator_with(annotation_file, detections).evaluate().mask.ar100 == pytest.approx(1.0)
    document["annotations"][0]["segmentation"] = {"size": [160, 200], "counts": "zzz"}
    annotation_file.write_text(json.dumps(document))
    with pytest.raises(DataError, match="annotation id 1: segmentation: compressed RLE"):
        CocoEvaluator(annotation_file)


def test_an_unwritable_place_is_named(synthetic: Path, tmp_path: Path) -> None:
    evaluator = CocoEvaluator(synthetic / "annotations" / "instance_train.json")
    with pytest.raises(DataError, match="cannot write the detections"):
        evaluator.save(tmp_path / "none" / "detections.json")
