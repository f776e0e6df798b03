"""Instance-segmentation data sets in COCO's layout: `<folder>/annotations/*.json` and `<folder>/images/`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.annotation import Annotation, Shape, parse_annotation
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.rle import RunLength
from instseg_trainer.data.sample import Sample, as_bytes
from instseg_trainer.data.segmentation import Segmentation

_logger = logging.getLogger(__name__)

# Declared sizes above this are refused before memory is spent on them (2^28 pixels: 800 MB as RGB).
_MAXIMUM_PIXELS = 1 << 28


@dataclass(frozen=True)
class Category:
    """One class: its id in the annotation file, and its label. Its place in `categories` is the class id."""

    id: int
    label: str


@dataclass(frozen=True)
class ImageRecord:
    """One image of a data set with its annotations, not decoded: small enough to send to another process."""

    image_id: int
    path: Path
    height: int
    width: int
    boxes: NDArray[np.float32]  # (n, 4) xyxy pixels, half-open
    class_ids: NDArray[np.int64]  # (n,)
    shapes: tuple[Shape, ...]  # n shapes: polygons, or a run-length mask
    is_crowd: NDArray[np.bool_]  # (n,)

    def load(self) -> Sample:
        """Read and decode the image (8-bit RGB, EXIF orientation applied) and build the sample.

        Raises DataError when the file cannot be read, or its size is not the annotated one.
        """
        try:
            data = np.fromfile(self.path, dtype=np.uint8)
        except OSError as error:
            raise DataError(f"{self.path}: cannot read the image: {error.strerror}") from error
        try:
            bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        except cv2.error as error:
            raise DataError(f"{self.path}: cannot decode the image: {error.err}") from error
        if bgr is None:
            raise DataError(
                f"{self.path}: not an image that can be decoded; replace it or remove it from the data set"
            )
        if bgr.shape[:2] != (self.height, self.width):
            raise DataError(
                f"{self.path}: the image is {bgr.shape[1]}x{bgr.shape[0]} pixels (EXIF orientation applied), but "
                f"image id {self.image_id} says {self.width}x{self.height}: correct width and height there"
            )
        segments = tuple(
            Segmentation(bitmap=shape.decode())
            if isinstance(shape, RunLength)
            else Segmentation(polygons=shape)
            for shape in self.shapes
        )
        return Sample(
            image=as_bytes(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)),
            boxes=self.boxes,
            class_ids=self.class_ids,
            segments=segments,
            is_crowd=self.is_crowd,
            image_id=self.image_id,
            path=self.path,
            original_size=(self.height, self.width),
        )


@dataclass(frozen=True)
class DatasetSummary:
    """Counts for a log. `instances_per_class` follows the class ids; it has nothing that was left out."""

    images: int
    images_without_instances: int
    instances: int
    instances_per_class: dict[str, int]
    crowds_left_out: int
    invalid_left_out: int

    def __str__(self) -> str:
        used = {label: count for label, count in self.instances_per_class.items() if count}
        classes = ", ".join(f"{label} {count}" for label, count in used.items())
        return (
            f"{self.images} images ({self.images_without_instances} without instances), "
            f"{self.instances} instances of {len(used)} of {len(self.instances_per_class)} classes: {classes}; left out: "
            f"{self.crowds_left_out} crowds, {self.invalid_left_out} invalid"
        )


class CocoDataset:
    """Reads a COCO instance file completely and checks it; images are decoded on access.

    `annotation` and `image_dir` are relative to `dataset_dir`. `allow_empty` keeps images without a usable
    instance: leave it False to train, set it to evaluate. `keep_crowds` keeps `iscrowd` annotations, which
    training leaves out. `categories` fixes the classes (those of a trained model); by default they are the
    file's, by rising id.

    Images come by rising id. Annotations with an empty box, no area or `ignore` set are left out and counted.
    Raises DataError, naming the file and the annotation, for anything that cannot be trusted.
    """

    def __init__(
        self,
        dataset_dir: str | Path,
        annotation: str | Path = "annotations/instance_train.json",
        image_dir: str | Path = "images",
        *,
        allow_empty: bool = False,
        keep_crowds: bool = False,
        categories: Sequence[Category] | None = None,
    ) -> None:
        self.annotation_file = Path(dataset_dir) / annotation
        self._image_dir = Path(dataset_dir) / image_dir
        self._crowds_left_out = 0
        self._invalid_left_out = 0
        document = _read_json(self.annotation_file)
        self.categories = tuple(categories) if categories is not None else self._read_categories(document)
        self._class_ids = {category.id: index for index, category in enumerate(self.categories)}
        self.records = self._read_records(document, allow_empty, keep_crowds)
        if not self.records:
            raise DataError(
                f"{self.annotation_file}: no image with a usable instance annotation: nothing to load"
            )
        if self._invalid_left_out:
            _logger.warning(
                "%s: %d invalid annotations left out", self.annotation_file, self._invalid_left_out
            )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        return self.records[index].load()

    @property
    def labels(self) -> tuple[str, ...]:
        """Label per class id."""
        return tuple(category.label for category in self.categories)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Category id of the annotation file per class id."""
        return tuple(category.id for category in self.categories)

    def summary(self) -> DatasetSummary:
        """Images and instances per class, as loaded."""
        per_class = np.zeros(len(self.categories), dtype=np.int64)
        for record in self.records:
            np.add.at(per_class, record.class_ids, 1)
        counts: dict[str, int] = {}
        for label, count in zip(self.labels, per_class.tolist(), strict=True):
            counts[label] = counts.get(label, 0) + count
        return DatasetSummary(
            images=len(self.records),
            images_without_instances=sum(not len(record.boxes) for record in self.records),
            instances=int(per_class.sum()),
            instances_per_class=counts,
            crowds_left_out=self._crowds_left_out,
            invalid_left_out=self._invalid_left_out,
        )

    def _read_categories(self, document: dict[str, Any]) -> tuple[Category, ...]:
        labels: dict[int, str] = {}
        for index, item in enumerate(_entries(document, "categories", self.annotation_file)):
            where = f"{self.annotation_file}: categories[{index}]"
            category_id = _identifier(item, "id", where)
            label = item.get("name")
            if not isinstance(label, str) or not label:
                raise DataError(f"{where}: name is {label!r}, expected a text")
            if category_id in labels:
                raise DataError(f"{where}: id {category_id} is used twice; category ids must differ")
            labels[category_id] = label
        if not labels:
            raise DataError(f"{self.annotation_file}: categories is empty, expected at least one class")
        return tuple(Category(category_id, labels[category_id]) for category_id in sorted(labels))

    def _read_records(
        self, document: dict[str, Any], allow_empty: bool, keep_crowds: bool
    ) -> list[ImageRecord]:
        images: dict[int, tuple[Path, int, int]] = {}
        for index, item in enumerate(_entries(document, "images", self.annotation_file)):
            where = f"{self.annotation_file}: images[{index}]"
            image_id = _identifier(item, "id", where)
            if image_id in images:
                raise DataError(f"{where}: id {image_id} is used twice; image ids must differ")
            images[image_id] = self._read_image(item, where)
        annotations = self._read_annotations(document, images, keep_crowds)
        records = []
        for image_id in sorted(images):
            path, height, width = images[image_id]
            found = annotations.get(image_id, [])
            if not found and not allow_empty:
                continue
            if not path.is_file():
                raise DataError(f"{self.annotation_file}: image id {image_id}: file not found: {path}")
            records.append(
                ImageRecord(
                    image_id=image_id,
                    path=path,
                    height=height,
                    width=width,
                    boxes=np.array([item.box for item in found], dtype=np.float32).reshape(-1, 4),
                    class_ids=np.array([self._class_ids[item.category_id] for item in found], dtype=np.int64),
                    shapes=tuple(item.shape for item in found),
                    is_crowd=np.array([item.is_crowd for item in found], dtype=np.bool_),
                )
            )
        return records

    def _read_image(self, item: dict[str, Any], where: str) -> tuple[Path, int, int]:
        name = item.get("file_name")
        if not isinstance(name, str) or not name or "\0" in name:
            raise DataError(f"{where}: file_name is {name!r}, expected a path inside {self._image_dir}")
        for path in (PurePosixPath(name), PureWindowsPath(name)):
            if path.is_absolute() or path.drive or ".." in path.parts:
                raise DataError(f"{where}: file_name {name!r} leaves the image folder; use a path inside it")
        height, width = item.get("height"), item.get("width")
        for key, value in (("height", height), ("width", width)):
            if type(value) is not int or value < 1:
                raise DataError(f"{where}: {key} is {value!r}, expected a whole number of pixels above 0")
        assert isinstance(height, int) and isinstance(width, int)
        if height * width > _MAXIMUM_PIXELS:
            raise DataError(
                f"{where}: {width}x{height} pixels are more than the {_MAXIMUM_PIXELS} that can be loaded"
            )
        return self._image_dir / name, height, width

    def _read_annotations(
        self, document: dict[str, Any], images: dict[int, tuple[Path, int, int]], keep_crowds: bool
    ) -> dict[int, list[Annotation]]:
        by_image: dict[int, list[Annotation]] = {}
        seen: set[int] = set()
        for index, item in enumerate(_entries(document, "annotations", self.annotation_file)):
            annotation_id = _identifier(item, "id", f"{self.annotation_file}: annotations[{index}]")
            where = f"{self.annotation_file}: annotation id {annotation_id}"
            if annotation_id in seen:
                raise DataError(f"{where}: the id is used twice; annotation ids must differ")
            seen.add(annotation_id)
            image_id = _identifier(item, "image_id", where)
            if image_id not in images:
                raise DataError(f"{where}: image_id {image_id} is not among the images")
            category_id = _identifier(item, "category_id", where)
            if category_id not in self._class_ids:
                raise DataError(
                    f"{where}: category_id {category_id} is not among the categories {self.category_ids}"
                )
            _, height, width = images[image_id]
            annotation = parse_annotation(item, category_id, height, width, where)
            if annotation is None:
                self._invalid_left_out += 1
            elif annotation.is_crowd and not keep_crowds:
                self._crowds_left_out += 1
            else:
                by_image.setdefault(image_id, []).append(annotation)
        return by_image


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot read the annotation file: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a valid JSON file: {error}") from error
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: the file holds a {type(document).__name__}, expected COCO's object with images, …"
        )
    return document


def _entries(document: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: {key} is missing or not a list of objects; it must be a COCO instance file")
    return entries


def _identifier(item: dict[str, Any], key: str, where: str) -> int:
    value = item.get(key)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise DataError(f"{where}: {key} is {value!r}, expected a whole number from 0 to 2^63 - 1")
    return value
