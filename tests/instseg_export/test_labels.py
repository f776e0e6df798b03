"""Class names: from text, from COCO JSON, by default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from instseg_export.coco_labels import COCO_CATEGORY_IDS, COCO_LABELS
from instseg_export.errors import ExportError
from instseg_export.labels import default_labels, read_labels


def test_coco_names_and_ids() -> None:
    assert len(COCO_LABELS) == len(COCO_CATEGORY_IDS) == 80
    by_id = dict(zip(COCO_CATEGORY_IDS, COCO_LABELS, strict=True))
    assert (by_id[1], by_id[13], by_id[44], by_id[67], by_id[90]) == (
        "person",
        "stop sign",
        "bottle",
        "dining table",
        "toothbrush",
    )


def test_coco_ids_are_those_of_a_real_file(shared: Path) -> None:
    labels = read_labels(shared / "datasets/coco_tiny100/annotations/instance_val.json")
    assert labels.names == COCO_LABELS
    assert labels.category_ids == COCO_CATEGORY_IDS


def test_text_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffcat\n\n großer Hund \r\n", encoding="utf-8")
    labels = read_labels(tmp_path / "names.txt")
    assert labels.names == ("cat", "großer Hund")
    assert labels.category_ids == (1, 2)


def test_json_is_sorted_by_id(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps([{"id": 7, "name": "b"}, {"id": 2, "name": "a"}]))
    assert read_labels(tmp_path / "c.json").names == ("a", "b")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\n \n", "expected one class name a line, found none"),
        ("a.txt", b"\xff\xfe\x00", "expected UTF-8 text"),
        ("a.json", b"{}", "expected COCO categories"),
        ("a.json", b"[1]", "expected COCO categories"),
        ("a.json", b'[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]', "different ids"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=message):
        read_labels(tmp_path / name)


def test_default_names() -> None:
    assert default_labels(80).names == COCO_LABELS
    assert default_labels(2).names == ("class 0", "class 1")
