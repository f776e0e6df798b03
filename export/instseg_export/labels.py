"""What the class ids of a model are called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .coco_labels import COCO_CATEGORY_IDS, COCO_LABELS
from .errors import ExportError


@dataclass(frozen=True)
class Labels:
    """names[i] and category_ids[i] belong to class id i."""

    names: tuple[str, ...]
    category_ids: tuple[int, ...]


def read_labels(path: Path) -> Labels:
    """A text file with one name a line (category ids count from 1), or COCO JSON: a data set's file or its list of
    categories.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ExportError(f"{path}: expected UTF-8 text") from error
    if path.suffix.lower() == ".json":
        return _from_json(path, text)
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise ExportError(f"{path}: expected one class name a line, found none")
    return Labels(names, tuple(range(1, len(names) + 1)))


def _from_json(path: Path, text: str) -> Labels:
    try:
        content: Any = json.loads(text)
        categories = content["categories"] if isinstance(content, dict) else content
        pairs = sorted((int(category["id"]), str(category["name"])) for category in categories)
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path}: expected COCO categories, each with id and name") from error
    if not pairs or len({i for i, _ in pairs}) != len(pairs):
        raise ExportError(f"{path}: expected categories with different ids, found {len(pairs)}")
    return Labels(tuple(name for _, name in pairs), tuple(i for i, _ in pairs))


def default_labels(num_classes: int) -> Labels:
    """COCO's names for 80 classes, else `class 0`, `class 1`, …"""
    if num_classes == len(COCO_LABELS):
        return Labels(COCO_LABELS, COCO_CATEGORY_IDS)
    return unnamed_labels(num_classes)


def unnamed_labels(num_classes: int) -> Labels:
    """`class 0`, `class 1`, …"""
    return Labels(tuple(f"class {i}" for i in range(num_classes)), tuple(range(1, num_classes + 1)))
