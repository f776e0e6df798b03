"""A new division of a data set's images into train and val."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from instseg_trainer.data.coco_file import AnnotationEntry
from instseg_trainer.dataset_tools.coco_set import PARTS, CocoSet, annotation_file, read_set
from instseg_trainer.dataset_tools.image_files import check_overlap
from instseg_trainer.dataset_tools.problems import Findings, Kind
from instseg_trainer.dataset_tools.replace import replace_files

Image = TypeVar("Image", bound=Hashable)

# PaddleX's division of a set that comes without one.
DEFAULT_TRAIN_PERCENT = 80


def percents_are_valid(train_percent: int | None, val_percent: int | None, findings: Findings) -> bool:
    """Two whole numbers above 0 whose sum is 100; else a problem."""
    if min(train_percent or 0, val_percent or 0) > 0 and (train_percent or 0) + (val_percent or 0) == 100:
        return True
    message = (
        "CheckDataset.split.train_percent and .val_percent must be whole numbers above 0 whose sum is 100, "
        f"found {train_percent} and {val_percent}"
    )
    findings.add(Kind.SPLIT, "", "", message)
    return False


def choose_train(counts: Mapping[Image, Mapping[int, int]], train_percent: int, seed: int) -> set[Image]:
    """The images of the train part.

    `counts`: for each image, category id to instances. The number of train images is `train_percent` of all, rounded,
    at least 1 and at most all but 1 (of 2 or more). Images with the rarest class are placed first, each where
    that class lacks most, so that the classes are divided alike as far as whole images allow.
    """
    images = list(counts)
    random.Random(seed).shuffle(images)
    train_size = min(max(round(len(images) * train_percent / 100), 1), max(len(images) - 1, 1))
    room = {"train": train_size, "val": len(images) - train_size}
    share = {"train": train_percent / 100, "val": 1 - train_percent / 100}
    totals: Counter[int] = Counter()
    for classes in counts.values():
        totals.update(classes)
    lacking = {part: {label: share[part] * total for label, total in totals.items()} for part in PARTS}
    chosen: dict[str, list[Image]] = {part: [] for part in PARTS}
    placed: set[Image] = set()
    holders: dict[int, list[Image]] = {}
    for image in images:
        for label in counts[image]:
            holders.setdefault(label, []).append(image)
    for label in sorted(holders, key=lambda label: (len(holders[label]), label)):
        # Crowded images first: the others even out what they leave.
        for image in sorted(holders[label], key=lambda image: -counts[image][label]):
            if image in placed:
                continue
            open_parts = [part for part in PARTS if room[part]]
            part = max(open_parts, key=lambda part: (lacking[part][label] / share[part], room[part]))
            chosen[part].append(image)
            placed.add(image)
            room[part] -= 1
            for other, count in counts[image].items():
                lacking[part][other] -= count
    rest = [image for image in images if image not in placed]
    return {*chosen["train"], *rest[: room["train"]]}


@dataclass
class _Pool:
    """All images of a data set with unique ids."""

    images: dict[int, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    parts: dict[int, str] = field(default_factory=dict)


def split(
    folder: Path, train_percent: int | None, val_percent: int | None, seed: int, findings: Findings
) -> str | None:
    """Divides train and val (or train alone) anew; returns what was done, None where there are problems.

    The same images, percents and seed give the same division, however the images are divided now; where it is the
    one that is there already, nothing is written.
    """
    before = len(findings.problems)
    if not percents_are_valid(train_percent, val_percent, findings):
        return None
    assert train_percent is not None
    there = [part for part in PARTS if part == "train" or (folder / annotation_file(part)).exists()]
    sets = [read_set(folder, part, findings, allow_empty=True) for part in there]
    found = [part for part in sets if part is not None]
    if len(found) == 2:
        check_overlap(found[0], found[1], findings)
        _compare_categories(found[0], found[1], findings)
    if len(findings.problems) == before and sum(len(part.images) for part in found) < 2:
        findings.add(Kind.SPLIT, annotation_file("train"), "", "a division needs two images or more")
    if len(findings.problems) > before:
        return None
    pool = _pool(found)
    counts = {
        image_id: Counter(int(item["category_id"]) for item in pool.annotations[image_id])
        for image_id in sorted(pool.images, key=lambda image_id: pool.names[image_id])
    }
    train = choose_train(counts, train_percent, seed)
    if len(found) == 2 and train == {image_id for image_id, part in pool.parts.items() if part == "train"}:
        return "Split: the images are divided like this already; nothing was written"
    base = {**found[-1].document, **found[0].document, "categories": _categories(found)}
    contents = {}
    for part in PARTS:
        chosen = [image_id for image_id in pool.images if (image_id in train) == (part == "train")]
        document = {
            **base,
            "images": [pool.images[image_id] for image_id in chosen],
            "annotations": [item for image_id in chosen for item in pool.annotations[image_id]],
        }
        contents[annotation_file(part)] = json.dumps(document, ensure_ascii=False).encode(errors="backslashreplace")
    backups = replace_files(folder, contents)
    sizes = f"{len(train)} train and {len(pool.images) - len(train)} val images"
    return f"Split: {sizes}; the originals are {', '.join(backups)}"


def _compare_categories(train: CocoSet, val: CocoSet, findings: Findings) -> None:
    for category_id in train.categories.keys() & val.categories.keys():
        first, second = train.categories[category_id], val.categories[category_id]
        if first != second:
            message = f"is {second!r}, but {first!r} in {train.file}; the two need the same classes"
            findings.add(Kind.CATEGORY_MISMATCH, val.file, f"category id {category_id}", message)


def _categories(sets: list[CocoSet]) -> list[dict[str, Any]]:
    """The categories of both files, in their order."""
    merged = {item["id"]: item for part in reversed(sets) for item in part.document["categories"]}
    order = dict.fromkeys(item["id"] for part in sets for item in part.document["categories"])
    return [merged[category_id] for category_id in order]


def _pool(sets: list[CocoSet]) -> _Pool:
    """Ids stay where they are unique over both files; else those of the second file follow the first's highest."""
    pool = _Pool()
    used_ids: set[int] = set()
    for part in sets:
        image_shift = _shift(pool.images.keys(), part.images.keys())
        ids = {annotation.id for annotation in part.annotations}
        annotation_shift = _shift(used_ids, ids)
        used_ids |= ids
        for image_id, entries in part.annotations_per_image().items():
            new_id = image_id + image_shift
            pool.images[new_id] = {**part.raw_images[image_id], "id": new_id}
            pool.names[new_id] = part.images[image_id].file_name
            pool.parts[new_id] = part.part
            pool.annotations[new_id] = [_moved(item, new_id, annotation_shift) for item in entries]
    return pool


def _shift(used: Any, new: Any) -> int:
    return max(used) + 1 if set(used) & set(new) else 0


def _moved(annotation: AnnotationEntry, image_id: int, shift: int) -> dict[str, Any]:
    return {**annotation.data, "id": annotation.id + shift, "image_id": image_id}
