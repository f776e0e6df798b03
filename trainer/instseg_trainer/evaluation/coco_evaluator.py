"""COCO's average precision and recall of masks and boxes, with pycocotools' numbers."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask

from instseg_trainer.data.annotation import is_number, parse_box, parse_shape
from instseg_trainer.data.coco_file import AnnotationEntry, CocoFile
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.rle import RunLength

if TYPE_CHECKING:
    from instseg_rt.result import Result

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoScores:
    """COCO's twelve figures, each from 0 to 1, or -1 where there is no instance to find.

    AP is averaged over IoU 0.50:0.95, `ap50` and `ap75` are at one IoU; small, medium and large split at
    areas of 32^2 and 96^2 pixels; `ar1` is the recall with at most 1 detection an image, and so on.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float


@dataclass(frozen=True)
class CocoMetrics:
    """Scores of masks and boxes, and the masks' AP of each category id that has instances."""

    mask: CocoScores
    box: CocoScores
    mask_ap_per_category: dict[int, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for a log or a JSON file."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: AP {scores.ap:.4f}, AP50 {scores.ap50:.4f}, AP75 {scores.ap75:.4f}, small "
            f"{scores.ap_small:.4f}, medium {scores.ap_medium:.4f}, large {scores.ap_large:.4f}, AR100 "
            f"{scores.ar100:.4f}"
            for name, scores in (("mask", self.mask), ("box", self.box))
        )


class CocoEvaluator:
    """Collects detections of the images of one COCO file and scores them.

    Images that get no detections count as missed. Raises DataError for a file that pycocotools could not be
    trusted with. Annotations whose segmentation cannot be drawn are left out, with a warning.
    """

    def __init__(self, annotation_file: str | Path) -> None:
        self._file = CocoFile(Path(annotation_file))
        self._category_ids = {category.id for category in self._file.categories}
        self._ground_truth = _ground_truth(self._file)
        self._detections: list[dict[str, Any]] = []
        self._added: set[int] = set()

    @classmethod
    def from_detections_file(cls, annotation_file: str | Path, detections_file: str | Path) -> CocoEvaluator:
        """An evaluator with the detections of a COCO result file, `save`'s or another program's, with masks.

        The boxes are `predicted_bbox` or `bbox` (x, y, width, height), else the masks' bounds.
        """
        evaluator = cls(annotation_file)
        path = Path(detections_file)
        try:
            entries = json.loads(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: cannot read the detections: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: not a valid JSON file: {error}") from error
        if not isinstance(entries, list):
            raise DataError(f"{path}: the file holds a {type(entries).__name__}, expected a list of detections")
        for index, entry in enumerate(entries):
            evaluator._add_entry(entry, f"{path}: detection {index}")
        return evaluator

    def add_result(self, image_id: int, result: Result, category_ids: ArrayLike) -> None:
        """As `add`, for what a bundle's predictor found; `category_ids`: the bundle's, of each class id."""
        height, width = result.orig_shape
        rles = [{"size": [height, width], "counts": mask.rle(height, width)} for mask in result.packed_masks]
        self.add(image_id, result.boxes, result.scores, np.asarray(category_ids)[result.class_ids], rles)

    def add(
        self,
        image_id: int,
        boxes: ArrayLike,
        scores: ArrayLike,
        category_ids: ArrayLike,
        rles: Sequence[dict[str, Any]],
    ) -> None:
        """Add all n detections of one image; n may be 0, an image may be added once.

        `boxes` (n, 4) left, top, right, bottom in pixels of the original image; `scores` (n,); `category_ids`
        (n,) ids of the annotation file (not class ids); `rles` n compressed run-length masks of the original
        image's size, as `encode_masks` makes them.
        """
        if image_id not in self._file.images:
            raise DataError(f"{self._file.path}: no image has the id {image_id}; detections belong to its images")
        if image_id in self._added:
            raise DataError(f"{self._file.path}: image id {image_id} already has its detections; add an image once")
        corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        values = np.asarray(scores, dtype=np.float64).reshape(-1)
        categories = np.asarray(category_ids).reshape(-1)
        counts = (len(corners), len(values), len(categories), len(rles))
        if len(set(counts)) != 1:
            raise DataError(f"image id {image_id}: {counts} boxes, scores, category ids and masks differ in number")
        if not (np.isfinite(corners).all() and np.isfinite(values).all()):
            raise DataError(f"image id {image_id}: boxes and scores must be finite numbers")
        image = self._file.images[image_id]
        for corner, score, category_id, rle in zip(corners, values, categories, rles, strict=True):
            if int(category_id) not in self._category_ids:
                raise DataError(f"image id {image_id}: category id {category_id} is not in {self._file.path}")
            if list(rle["size"]) != [image.height, image.width]:
                raise DataError(
                    f"image id {image_id}: a mask's size is {list(rle['size'])}, "
                    f"expected [{image.height}, {image.width}]"
                )
            left, top, right, bottom = corner.tolist()
            text = rle["counts"].decode("ascii") if isinstance(rle["counts"], bytes) else rle["counts"]
            self._detections.append(
                {
                    "image_id": image_id,
                    "category_id": int(category_id),
                    "score": float(score),
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": {"size": [image.height, image.width], "counts": text},
                }
            )
        self._added.add(image_id)

    def evaluate(self) -> CocoMetrics:
        """Score everything added so far over all images of the file."""
        # Beside a bbox, COCO's tools take the box's area for the mask's: each kind gets its own entries.
        mask, per_category = self._score("segm", "segmentation")
        box, _ = self._score("bbox", "bbox")
        return CocoMetrics(mask, box, per_category)

    def save(self, path: str | Path) -> None:
        """Write a COCO result file for masks.

        It has no `bbox`, which would change AP by size in COCO's tools; the boxes are under `predicted_bbox`
        (x, y, width, height), which they do not read.
        """
        entries = [
            {("predicted_bbox" if key == "bbox" else key): value for key, value in detection.items()}
            for detection in self._detections
        ]
        target = Path(path)
        temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(entries), encoding="utf-8")
            temporary.replace(target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"{target}: cannot write the detections: {error.strerror}") from error

    def _add_entry(self, entry: object, where: str) -> None:
        if not isinstance(entry, dict):
            raise DataError(f"{where}: a {type(entry).__name__}, expected an object")
        image_id, category_id, score = (entry.get(key) for key in ("image_id", "category_id", "score"))
        if type(image_id) is not int or image_id not in self._file.images:
            raise DataError(f"{where}: image_id {image_id!r} is not in {self._file.path}")
        if type(category_id) is not int or category_id not in self._category_ids:
            raise DataError(f"{where}: category_id {category_id!r} is not in {self._file.path}")
        if not is_number(score):
            raise DataError(f"{where}: score is {score!r}, expected a number")
        segmentation = entry.get("segmentation")
        if not isinstance(segmentation, dict) or not isinstance(segmentation.get("counts"), str):
            raise DataError(f"{where}: segmentation must be a compressed RLE (size and counts as a text)")
        image = self._file.images[image_id]
        try:
            RunLength.from_coco(segmentation, image.height, image.width)
        except DataError as error:
            raise DataError(f"{where}: segmentation: {error}") from None
        box = entry.get("predicted_bbox", entry.get("bbox"))
        if box is None:
            box = coco_mask.toBbox({**segmentation, "counts": segmentation["counts"].encode()}).tolist()
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(number) for number in box):
            raise DataError(f"{where}: bbox is {box!r}, expected [x, y, width, height]")
        self._detections.append(
            {
                "image_id": image_id,
                "category_id": category_id,
                "score": score,
                "bbox": box,
                "segmentation": {"size": [image.height, image.width], "counts": segmentation["counts"]},
            }
        )
        self._added.add(image_id)

    def _score(self, kind: str, shape_key: str) -> tuple[CocoScores, dict[int, float]]:
        keys = ("image_id", "category_id", "score", shape_key)
        # The tools write into what they are given.
        truth = COCO({key: [dict(item) for item in items] for key, items in self._ground_truth.items()})
        found = truth.loadRes([{key: detection[key] for key in keys} for detection in self._detections])
        run = COCOeval_faster(truth, found, kind, print_function=_logger.debug)
        run.evaluate()
        run.accumulate()
        run.summarize()
        # precision: (IoU, recall, category, area range, detection limit)
        precision = run.eval["precision"][:, :, :, 0, -1]
        per_category = {
            int(category_id): float(precision[:, :, index].mean())
            for index, category_id in enumerate(run.params.catIds)
            if (precision[:, :, index] > -1).all()
        }
        return CocoScores(*(float(value) for value in run.stats[:12])), per_category


def encode_masks(masks: NDArray[np.uint8] | NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Compressed run-length masks, {"size": [h, w], "counts": text}, of (n, h, w) binary masks."""
    if not len(masks):
        return []
    stacked = np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)
    return [{"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")} for rle in coco_mask.encode(stacked)]


def _ground_truth(file: CocoFile) -> dict[str, list[dict[str, Any]]]:
    """The file's content for COCO's tools, in its order, every annotation checked."""
    annotations: list[dict[str, Any]] = []
    for entry in file.annotations:
        annotation = _annotation(file, entry)
        if annotation is None:
            _logger.warning("%s: left out, no polygon of its segmentation has three points", entry.where)
        else:
            # The tools take the id 0 for "not matched": number them anew.
            annotations.append({**annotation, "id": len(annotations) + 1})
    return {
        "images": [
            {"id": image_id, "height": image.height, "width": image.width} for image_id, image in file.images.items()
        ],
        "categories": [{"id": category.id, "name": category.label} for category in file.categories],
        "annotations": annotations,
    }


def _annotation(file: CocoFile, entry: AnnotationEntry) -> dict[str, Any] | None:
    image = file.images[entry.image_id]
    data = entry.data
    crowd, area = data.get("iscrowd", 0), data.get("area")
    if crowd not in (0, 1):
        raise DataError(f"{entry.where}: iscrowd is {crowd!r}, expected 0 or 1")
    parse_box(data.get("bbox"), image.height, image.width, entry.where)
    shape = parse_shape(data.get("segmentation"), image.height, image.width, entry.where)
    segmentation = data["segmentation"]
    if isinstance(segmentation, list):
        segmentation = [part for part in segmentation if len(part) >= 6]
        if not segmentation or not shape:
            return None
        runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, image.height, image.width))
    elif isinstance(segmentation["counts"], list):
        runs = coco_mask.frPyObjects(segmentation, image.height, image.width)
    else:
        runs = {**segmentation, "counts": segmentation["counts"].encode("ascii")}
    if area is None:
        area = float(coco_mask.area(runs))
    elif not is_number(area):
        raise DataError(f"{entry.where}: area is {area!r}, expected a number")
    return {
        "image_id": entry.image_id,
        "category_id": entry.category_id,
        "bbox": data["bbox"],
        "area": area,
        "iscrowd": int(crowd),
        "segmentation": {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")},
    }
