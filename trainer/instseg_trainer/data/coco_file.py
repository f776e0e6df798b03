"""A COCO instance file as it is on disk: ids and image entries checked, annotations not yet parsed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeGuard

from instseg_trainer.data.errors import DataError

# Declared sizes above this are refused before memory is spent on them (2^28 pixels: 800 MB as RGB).
_MAXIMUM_PIXELS = 1 << 28


@dataclass(frozen=True)
class Category:
    """One class: its id in the annotation file, and its label. Its place in `categories` is the class id."""

    id: int
    label: str


@dataclass(frozen=True)
class ImageEntry:
    """One of `images`; `file_name` is relative to the image folder and does not leave it. Sizes in pixels."""

    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class AnnotationEntry:
    """One of `annotations`, its ids checked; `data` is the raw object, `where` begins messages about it."""

    id: int
    image_id: int
    category_id: int
    data: dict[str, Any]
    where: str


class CocoFile:
    """`categories` by rising id, `images` by image id, `annotations` in the file's order.

    Raises DataError, naming the file and the entry, when an id is missing, used twice or refers to nothing,
    an image size is no positive number of pixels, or a file name is absolute or has `..`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        document = read_json(path)
        self.categories = self._read_categories(document)
        self.images = self._read_images(document)
        self.annotations = self._read_annotations(document)

    def _read_categories(self, document: dict[str, Any]) -> tuple[Category, ...]:
        labels: dict[int, str] = {}
        for index, item in enumerate(read_entries(document, self.path, "categories")):
            where = f"{self.path}: categories[{index}]"
            category = read_category(item, where)
            if category.id in labels:
                raise DataError(f"{where}: id {category.id} is used twice; category ids must differ")
            labels[category.id] = category.label
        if not labels:
            raise DataError(f"{self.path}: categories is empty, expected at least one class")
        return tuple(Category(category_id, labels[category_id]) for category_id in sorted(labels))

    def _read_images(self, document: dict[str, Any]) -> dict[int, ImageEntry]:
        images: dict[int, ImageEntry] = {}
        for index, item in enumerate(read_entries(document, self.path, "images")):
            where = f"{self.path}: images[{index}]"
            image_id = read_identifier(item, "id", where)
            if image_id in images:
                raise DataError(f"{where}: id {image_id} is used twice; image ids must differ")
            images[image_id] = read_image(item, where)
        return images

    def _read_annotations(self, document: dict[str, Any]) -> list[AnnotationEntry]:
        known = {category.id for category in self.categories}
        annotations: list[AnnotationEntry] = []
        seen: set[int] = set()
        for index, item in enumerate(read_entries(document, self.path, "annotations")):
            annotation_id = read_identifier(item, "id", f"{self.path}: annotations[{index}]")
            where = f"{self.path}: annotation id {annotation_id}"
            if annotation_id in seen:
                raise DataError(f"{where}: the id is used twice; annotation ids must differ")
            seen.add(annotation_id)
            image_id = read_identifier(item, "image_id", where)
            if image_id not in self.images:
                raise DataError(f"{where}: image_id {image_id} is not among the images")
            category_id = read_identifier(item, "category_id", where)
            if category_id not in known:
                raise DataError(f"{where}: category_id {category_id} is not among the categories {sorted(known)}")
            annotations.append(AnnotationEntry(annotation_id, image_id, category_id, item, where))
        return annotations


def read_entries(document: dict[str, Any], path: Path, key: str) -> list[dict[str, Any]]:
    """One of the lists of a COCO document; `path` stands for the document in errors."""
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: {key} is missing or no list of objects; expected a COCO instance file")
    return entries


def is_text(value: object) -> TypeGuard[str]:
    """Whether a JSON value is a text that is not empty and can be written again: JSON can hold half characters."""
    return isinstance(value, str) and bool(value) and not any("\ud800" <= character <= "\udfff" for character in value)


def read_category(item: dict[str, Any], where: str) -> Category:
    """One of `categories`; `where` begins every error message."""
    category_id = read_identifier(item, "id", where)
    label = item.get("name")
    if not is_text(label):
        raise DataError(f"{where}: name is {label!r}, expected a text")
    return Category(category_id, label)


def read_image(item: dict[str, Any], where: str) -> ImageEntry:
    """One of `images`, its id aside; `where` begins every error message."""
    name = item.get("file_name")
    if not is_text(name) or "\0" in name:
        raise DataError(f"{where}: file_name is {name!r}, expected a path inside the image folder")
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or ".." in path.parts:
            raise DataError(f"{where}: file_name {name!r} leaves the image folder; use a path inside it")
    height, width = item.get("height"), item.get("width")
    for key, value in (("height", height), ("width", width)):
        if type(value) is not int or value < 1:
            raise DataError(f"{where}: {key} is {value!r}, expected a whole number of pixels above 0")
    assert isinstance(height, int) and isinstance(width, int)
    if height * width > _MAXIMUM_PIXELS:
        raise DataError(f"{where}: {width}x{height} pixels, more than the {_MAXIMUM_PIXELS} that can be loaded")
    return ImageEntry(name, height, width)


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds; a byte order mark is skipped."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot read the annotation file: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a valid JSON file: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: the file holds a {type(document).__name__}, expected COCO's object")
    return document


def read_identifier(item: dict[str, Any], key: str, where: str) -> int:
    """An id of a COCO entry; `where` begins the error message."""
    value = item.get(key)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise DataError(f"{where}: {key} is {value!r}, expected a whole number from 0 to 2^63 - 1")
    return value
