"""One COCO file of a data set, read to its end whatever is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from instseg_trainer.data.coco_file import (
    AnnotationEntry,
    ImageEntry,
    read_category,
    read_identifier,
    read_image,
    read_json,
)
from instseg_trainer.data.errors import DataError
from instseg_trainer.dataset_tools.problems import Findings, Kind

PARTS = ("train", "val")


def annotation_file(part: str) -> str:
    """The file of a part, relative to the data set's folder."""
    return f"annotations/instance_{part}.json"


@dataclass
class CocoSet:
    """The sound entries of one file. `part` is train or val; `file` is relative to the data set's folder.

    `raw_images` are the objects of `images` as they are in the file, `document` is the whole.
    """

    part: str
    document: dict[str, Any]
    categories: dict[int, str] = field(default_factory=dict)
    images: dict[int, ImageEntry] = field(default_factory=dict)
    raw_images: dict[int, dict[str, Any]] = field(default_factory=dict)
    annotations: list[AnnotationEntry] = field(default_factory=list)

    @property
    def file(self) -> str:
        return annotation_file(self.part)

    def instances_per_category(self) -> Counter[int]:
        return Counter(annotation.category_id for annotation in self.annotations)

    def annotations_per_image(self) -> dict[int, list[AnnotationEntry]]:
        """Image id to annotations; every image has an entry."""
        grouped: dict[int, list[AnnotationEntry]] = {image_id: [] for image_id in self.images}
        for annotation in self.annotations:
            grouped[annotation.image_id].append(annotation)
        return grouped


def read_set(folder: Path, part: str, findings: Findings, *, allow_empty: bool = False) -> CocoSet | None:
    """Reads a part's file; None where it is no COCO document at all.

    `allow_empty`: a part without images or annotations is no problem.
    """
    file = annotation_file(part)
    with findings.collect(Kind.UNREADABLE_FILE, file, ""):
        try:
            document = read_json(folder / file)
        except DataError as error:
            raise DataError(str(error).removeprefix(f"{folder / file}: ")) from None
        found = CocoSet(part, document)
        _read_categories(found, findings)
        _read_images(found, findings)
        _read_annotations(found, findings)
        if not allow_empty:
            _require_content(found, findings)
        return found
    return None


def normalized_name(file_name: str) -> str:
    """A file name of an image such that two names of one file are equal (`./a.jpg`, `a.jpg`)."""
    return str(PurePosixPath(file_name))


def _require_content(found: CocoSet, findings: Findings) -> None:
    for key, what in (("categories", "class"), ("images", "image"), ("annotations", "instance")):
        if found.document.get(key) == []:
            findings.add(Kind.EMPTY_SET, found.file, key, f"there is none, expected at least one {what}")


def _read_categories(found: CocoSet, findings: Findings) -> None:
    entries = _entries(found, "categories", findings)
    for index, item in enumerate(entries):
        entry = f"categories[{index}]"
        with findings.collect(Kind.INVALID_ENTRY, found.file, entry):
            category = read_category(item, entry)
            if category.id in found.categories:
                message = f"category id {category.id} is used twice; category ids must differ"
                findings.add(Kind.DUPLICATE_ID, found.file, entry, message)
            else:
                found.categories[category.id] = category.label
    for label, count in Counter(found.categories.values()).items():
        if count > 1:
            findings.notes.append(f"{found.file}: {count} categories have the name {label!r}")


def _read_images(found: CocoSet, findings: Findings) -> None:
    entries = _entries(found, "images", findings)
    names: dict[str, int] = {}
    for index, item in enumerate(entries):
        entry = f"images[{index}]"
        with findings.collect(Kind.INVALID_ENTRY, found.file, entry):
            image_id = read_identifier(item, "id", entry)
            if image_id in found.raw_images:
                message = f"image id {image_id} is used twice; image ids must differ"
                findings.add(Kind.DUPLICATE_ID, found.file, entry, message)
                continue
            found.raw_images[image_id] = item
            image = read_image(item, entry)
            found.images[image_id] = image
            first = names.setdefault(normalized_name(image.file_name), image_id)
            if first != image_id:
                message = (
                    f"file_name {image.file_name!r} is also that of image id {first}: give all its annotations one id"
                )
                findings.add(Kind.DUPLICATE_IMAGE, found.file, f"image id {image_id}", message)


def _read_annotations(found: CocoSet, findings: Findings) -> None:
    entries = _entries(found, "annotations", findings)
    seen: set[int] = set()
    for index, item in enumerate(entries):
        place = f"annotations[{index}]"
        with findings.collect(Kind.INVALID_ENTRY, found.file, place):
            annotation_id = read_identifier(item, "id", place)
            entry = f"annotation id {annotation_id}"
            if annotation_id in seen:
                message = f"annotation id {annotation_id} is used twice; annotation ids must differ"
                findings.add(Kind.DUPLICATE_ID, found.file, place, message)
            seen.add(annotation_id)
            image_id = read_identifier(item, "image_id", place)
            category_id = read_identifier(item, "category_id", place)
            known = True
            if image_id not in found.raw_images:
                known = False
                findings.add(Kind.UNKNOWN_IMAGE, found.file, entry, f"image_id {image_id} is not among the images")
            # Without any category the file's problem is said already.
            if category_id not in found.categories and found.categories:
                known = False
                message = f"category_id {category_id} is not among the {len(found.categories)} categories"
                findings.add(Kind.UNKNOWN_CATEGORY, found.file, entry, message)
            if known and found.categories and image_id in found.images:
                found.annotations.append(AnnotationEntry(annotation_id, image_id, category_id, item, entry))


def _entries(found: CocoSet, key: str, findings: Findings) -> list[dict[str, Any]]:
    """The objects of one of the document's lists; anything else in it is a problem."""
    items = found.document.get(key)
    if not isinstance(items, list):
        message = f"expected a list of objects, as in a COCO instance file; found {type(items).__name__}"
        findings.add(Kind.INVALID_ENTRY, found.file, key, message)
        return []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            findings.add(Kind.INVALID_ENTRY, found.file, f"{key}[{index}]", f"expected an object, found {item!r:.60}")
    return [item for item in items if isinstance(item, dict)]
