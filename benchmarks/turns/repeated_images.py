"""A data set as a longer one: an end of an epoch would be a part of what is measured on a small set."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any


def repeat_images(dataset: Path, images: int, folder: Path) -> Path:
    """Writes `folder`, a COCO data set of at least `images` train images: those of `dataset`, again and again under
    new names, as links. The val images stay.
    """
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    for part, wanted in (("train", images), ("val", 0)):
        name = f"annotations/instance_{part}.json"
        content = json.loads((dataset / name).read_text(encoding="utf-8"))
        repeated = _repeat(content, wanted, part)
        for entry in repeated["images"]:
            source = (dataset / "images" / entry.pop("source")).resolve()
            (folder / "images" / entry["file_name"]).symlink_to(source)
        (folder / name).write_text(json.dumps(repeated), encoding="utf-8")
    return folder


def _repeat(content: dict[str, Any], wanted: int, part: str) -> dict[str, Any]:
    of_image: dict[object, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rounds = itertools.count() if wanted else iter([0])
    for turn in rounds:
        if turn and len(images) >= wanted:
            break
        for image in content["images"]:
            number = len(images) + 1
            file_name = f"{part}_{number}{Path(image['file_name']).suffix}"
            images.append(image | {"id": number, "file_name": file_name, "source": image["file_name"]})
            for annotation in of_image[image["id"]]:
                annotations.append(annotation | {"id": len(annotations) + 1, "image_id": number})
    return content | {"images": images, "annotations": annotations}
