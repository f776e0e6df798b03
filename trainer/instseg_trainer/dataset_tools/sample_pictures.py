"""Pictures of a data set's annotations, to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from instseg_rt import Result
from instseg_rt._core import PackedMask
from instseg_rt.drawing import draw_result
from instseg_rt.files import read_bytes, write_atomically
from instseg_rt.image_file import decode_image
from instseg_trainer.data.annotation import parse_annotation
from instseg_trainer.data.coco_file import AnnotationEntry, ImageEntry
from instseg_trainer.data.rle import RunLength
from instseg_trainer.data.segmentation import Segmentation
from instseg_trainer.dataset_tools.coco_set import CocoSet
from instseg_trainer.dataset_tools.image_files import IMAGE_FOLDER
from instseg_trainer.dataset_tools.report import PICTURE_FOLDER

_FOLDER = "demo_img"
_PICTURES_PER_PART = 10  # as in PaddleX
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def write_sample_pictures(folder: Path, part: CocoSet, output: Path) -> list[str]:
    """Draws the first images of a part that has no problems; returns the pictures' paths, relative to `output`."""
    annotations = part.annotations_per_image()
    labels = {category_id: index for index, category_id in enumerate(sorted(part.categories))}
    names = [part.categories[category_id] for category_id in labels]
    paths = []
    for image_id in list(part.images)[:_PICTURES_PER_PART]:
        image = part.images[image_id]
        source = folder / IMAGE_FOLDER / image.file_name
        pixels = decode_image(read_bytes(source), str(source))
        picture = draw_result(pixels, _as_result(image, annotations[image_id], labels, names), scores=False)
        name = image.file_name
        if Path(name).suffix.lower() not in _SUFFIXES:
            name += ".jpg"
        path = f"{PICTURE_FOLDER}/{_FOLDER}/{name}"
        _, encoded = cv2.imencode(Path(name).suffix, picture)
        write_atomically(output / path, encoded.tobytes())
        paths.append(path)
    return paths


def _as_result(
    image: ImageEntry, annotations: list[AnnotationEntry], labels: dict[int, int], names: list[str]
) -> Result:
    """The annotations as what a perfect model would find; those that training leaves out are left out here too."""
    boxes, class_ids, masks = [], [], []
    for entry in annotations:
        parsed = parse_annotation(entry.data, entry.category_id, image.height, image.width, entry.where)
        if parsed is None:
            continue
        shape = parsed.shape
        if isinstance(shape, RunLength):
            mask = shape.decode()
        else:
            mask = Segmentation(polygons=shape).to_mask(image.height, image.width)
        boxes.append(parsed.box)
        class_ids.append(labels[entry.category_id])
        masks.append(PackedMask.from_dense(mask.astype(bool)))
    return Result(
        np.array(boxes, np.float32),
        np.ones(len(boxes), np.float32),
        np.array(class_ids, np.int32),
        masks,
        names=names,
        orig_shape=(image.height, image.width),
    )
