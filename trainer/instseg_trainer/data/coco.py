"""Instance-segmentation data sets in COCO's layout: `<folder>/annotations/*.json` and `<folder>/images/`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.annotation import Annotation, Shape, parse_annotation
from instseg_trainer.data.coco_file import Category, CocoFile
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.rle import RunLength
from instseg_trainer.data.sample import Sample, as_bytes
from instseg_trainer.data.segmentation import Segmentation

_logger = logging.getLogger(__name__)


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
            raise DataError(f"{self.path}: not an image that can be decoded; replace it or remove it from the data set")
        height, width = bgr.shape[:2]
        if (height, width) != (self.height, self.width):
            raise DataError(
                f"{self.path}: the image is {width}x{height} pixels (EXIF orientation applied), but image id "
                f"{self.image_id} says {self.width}x{self.height}: correct width and height there"
            )
        segments = tuple(
            Segmentation(bitmap=shape.decode()) if isinstance(shape, RunLength) else Segmentation(polygons=shape)
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
            f"{self.images} images ({self.images_without_instances} without instances), {self.instances} "
            f"instances of {len(used)} of {len(self.instances_per_class)} classes: {classes}; left out: "
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
        document = CocoFile(self.annotation_file)
        self.categories = tuple(categories) if categories is not None else document.categories
        self._class_ids = {category.id: index for index, category in enumerate(self.categories)}
        self.records = self._read_records(document, allow_empty, keep_crowds)
        if not self.records:
            raise DataError(f"{self.annotation_file}: no image with a usable instance annotation: nothing to load")
        if self._invalid_left_out:
            _logger.warning("%s: %d invalid annotations left out", self.annotation_file, self._invalid_left_out)

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

    def _read_records(self, document: CocoFile, allow_empty: bool, keep_crowds: bool) -> list[ImageRecord]:
        annotations = self._read_annotations(document, keep_crowds)
        records = []
        for image_id in sorted(document.images):
            image = document.images[image_id]
            found = annotations.get(image_id, [])
            if not found and not allow_empty:
                continue
            path = self._image_dir / image.file_name
            if not path.is_file():
                raise DataError(f"{self.annotation_file}: image id {image_id}: file not found: {path}")
            records.append(
                ImageRecord(
                    image_id=image_id,
                    path=path,
                    height=image.height,
                    width=image.width,
                    boxes=np.array([item.box for item in found], dtype=np.float32).reshape(-1, 4),
                    class_ids=np.array([self._class_ids[item.category_id] for item in found], dtype=np.int64),
                    shapes=tuple(item.shape for item in found),
                    is_crowd=np.array([item.is_crowd for item in found], dtype=np.bool_),
                )
            )
        return records

    def _read_annotations(self, document: CocoFile, keep_crowds: bool) -> dict[int, list[Annotation]]:
        by_image: dict[int, list[Annotation]] = {}
        for entry in document.annotations:
            if entry.category_id not in self._class_ids:
                raise DataError(
                    f"{entry.where}: category_id {entry.category_id} is not among the categories {self.category_ids}"
                )
            image = document.images[entry.image_id]
            annotation = parse_annotation(entry.data, entry.category_id, image.height, image.width, entry.where)
            if annotation is None:
                self._invalid_left_out += 1
            elif annotation.is_crowd and not keep_crowds:
                self._crowds_left_out += 1
            else:
                by_image.setdefault(entry.image_id, []).append(annotation)
        return by_image
