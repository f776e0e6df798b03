"""The COCO reader: what it reads from real sets, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from instseg_trainer.data import Category, CocoDataset, DataError

Edit = Callable[[dict[str, Any]], Any]


def edit_annotations(folder: Path, edit: Edit) -> None:
    path = folder / "annotations" / "instance_train.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_reads_the_fruits(shared: Path) -> None:
    dataset = CocoDataset(shared / "datasets" / "fruits_nuts")
    summary = dataset.summary()
    assert dataset.labels == ("date", "fig", "hazelnut")
    assert (summary.images, summary.instances) == (14, 127)
    assert summary.instances_per_class == {"date": 52, "fig": 32, "hazelnut": 43}
    assert (summary.crowds_left_out, summary.invalid_left_out, summary.images_without_instances) == (0, 0, 0)
    assert "14 images" in str(summary)
    assert "hazelnut 43" in str(summary)
    sample = dataset[0]
    assert sample.image.shape == (600, 800, 3)
    assert sample.original_size == sample.size == (600, 800)


def test_reads_coco_as_pycocotools_does(shared: Path) -> None:
    folder = shared / "datasets" / "coco_tiny100"
    dataset = CocoDataset(folder)
    reference = COCO(str(folder / "annotations" / "instance_train.json"))
    summary = dataset.summary()
    assert (summary.images, summary.instances, summary.crowds_left_out) == (49, 465, 5)
    assert list(dataset.category_ids) == sorted(reference.getCatIds())
    assert [record.image_id for record in dataset.records] == sorted(record.image_id for record in dataset.records)
    for sample in (dataset[index] for index in range(len(dataset))):
        annotations = reference.loadAnns(reference.getAnnIds(imgIds=[sample.image_id], iscrowd=False))
        assert [dataset.category_ids[index] for index in sample.class_ids] == [
            annotation["category_id"] for annotation in annotations
        ]
        for annotation, box, segment in zip(annotations, sample.boxes, sample.segments, strict=True):
            x, y, width, height = annotation["bbox"]
            assert box == pytest.approx([x, y, x + width, y + height], abs=2e-3)
            assert np.array_equal(segment.to_mask(*sample.size), reference.annToMask(annotation))


def test_keeps_empty_images_and_crowds_when_asked(shared: Path) -> None:
    folder = shared / "datasets" / "coco_tiny100"
    dataset = CocoDataset(folder, "annotations/instance_val.json", allow_empty=True, keep_crowds=True)
    reference = COCO(str(folder / "annotations" / "instance_val.json"))
    summary = dataset.summary()
    assert (summary.images, summary.images_without_instances, summary.instances) == (50, 2, 382)
    record = next(record for record in dataset.records if record.is_crowd.any())
    sample = record.load()
    index = int(np.flatnonzero(sample.is_crowd)[0])
    annotation = reference.loadAnns(reference.getAnnIds(imgIds=[record.image_id], iscrowd=True))[0]
    assert np.array_equal(sample.segments[index].to_mask(*sample.size), reference.annToMask(annotation))


def test_class_ids_follow_rising_category_ids_or_the_given_categories(synthetic: Path) -> None:
    assert CocoDataset(synthetic).categories == (Category(3, "star"), Category(7, "disc"))
    given = (Category(7, "disc"), Category(1, "other"), Category(3, "star"))
    own, fixed = CocoDataset(synthetic), CocoDataset(synthetic, categories=given)
    assert own.records[0].class_ids.tolist() == [0, 1, 0, 1]
    assert fixed.records[0].class_ids.tolist() == [2, 0, 2, 0]
    with pytest.raises(DataError, match="annotation id 2: category_id 7 is not among the categories"):
        CocoDataset(synthetic, categories=given[1:])


def test_masks_lie_on_their_pixels(synthetic: Path, instance_colour: Callable[[int], tuple[int, int, int]]) -> None:
    for sample in (CocoDataset(synthetic)[index] for index in range(6)):
        for index, segment in enumerate(sample.segments):
            painted = (sample.image == instance_colour(index)).all(axis=2)
            assert np.array_equal(painted, segment.to_mask(*sample.size).astype(bool))


def test_reads_compressed_runs(editable: Path) -> None:
    before = CocoDataset(editable)[0].segments[2].to_mask(160, 200)

    def compress(document: dict[str, Any]) -> None:
        rle = coco_mask.encode(np.asfortranarray(before))
        document["annotations"][2]["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}

    edit_annotations(editable, compress)
    assert np.array_equal(CocoDataset(editable)[0].segments[2].to_mask(160, 200), before)


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [10, 10, 0, 5]},
        {"bbox": [500, 10, 20, 20]},
        {"area": 0},
        {"ignore": 1},
        {"segmentation": []},
        {"segmentation": [[1, 1, 5, 5]]},
        {"segmentation": [[210, 10, 230, 10, 230, 30]]},
    ],
)
def test_leaves_unusable_annotations_out_and_counts_them(editable: Path, change: dict[str, Any]) -> None:
    edit_annotations(editable, lambda document: document["annotations"][0].update(change))
    dataset = CocoDataset(editable)
    assert dataset.summary().invalid_left_out == 1
    assert [len(record.boxes) for record in dataset.records] == [3, 4]


def test_cuts_boxes_and_polygons_to_the_image(editable: Path) -> None:
    shape = {"bbox": [-20, 100, 60, 90], "segmentation": [[-20, 100, 40, 100, 40, 190, -20, 190]]}
    edit_annotations(editable, lambda document: document["annotations"][0].update(shape))
    sample = CocoDataset(editable)[0]
    assert sample.boxes[0].tolist() == [0, 100, 40, 160]
    assert sample.segments[0].polygons is not None
    assert sample.segments[0].polygons[0].min(axis=0).tolist() == [0, 100]
    assert sample.segments[0].polygons[0].max(axis=0).tolist() == [40, 160]


def set_in(key: str, index: int, **values: Any) -> Edit:
    return lambda document: document[key][index].update(values)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (set_in("images", 0, file_name="../000.png"), r"images\[0\]: file_name '../000.png' leaves"),
        (set_in("images", 0, file_name="/etc/passwd"), "leaves the image folder"),
        (set_in("images", 0, file_name="C:\\x.png"), "leaves the image folder"),
        (set_in("images", 0, file_name="a\\..\\..\\x.png"), "leaves the image folder"),
        (set_in("images", 0, file_name=None), "file_name is None"),
        (set_in("images", 0, file_name="none.png"), "image id 0: file not found"),
        (set_in("images", 0, width=0), "width is 0"),
        (set_in("images", 0, height=160.0), "height is 160.0"),
        (set_in("images", 0, height=1 << 20, width=1 << 20), "more than the"),
        (set_in("images", 1, id=0), "id 0 is used twice"),
        (set_in("images", 1, id="1"), "id is '1'"),
        (set_in("categories", 0, id=3), "id 3 is used twice"),
        (set_in("categories", 0, name=5), "name is 5"),
        (set_in("annotations", 0, id=2), "annotation id 2: the id is used twice"),
        (set_in("annotations", 0, image_id=99), "annotation id 1: image_id 99"),
        (set_in("annotations", 0, category_id=99), "annotation id 1: category_id 99"),
        (set_in("annotations", 0, bbox=[1, 2, 3]), "annotation id 1: bbox is"),
        (set_in("annotations", 0, bbox=[1, 2, 3, float("nan")]), "bbox is"),
        (set_in("annotations", 0, bbox=None), "bbox is None"),
        (set_in("annotations", 0, area="big"), "area is 'big'"),
        (set_in("annotations", 0, iscrowd=[1]), "iscrowd is"),
        (set_in("annotations", 0, segmentation=None), "annotation id 1: segmentation is missing"),
        (set_in("annotations", 0, segmentation=[[1, 2, 3, 4, 5]]), "x, y pairs"),
        (set_in("annotations", 0, segmentation=[[1, 2, 3, 4, 5, float("inf")]]), "finite"),
        (set_in("annotations", 0, segmentation=[[1, 2, 3, 4, 5, 10**400]]), "finite"),
        (set_in("annotations", 0, segmentation=[[1, 2, 3, 4, 5, 1e8]]), "far outside"),
        (
            set_in("annotations", 2, segmentation={"size": [9, 9], "counts": [81]}),
            "annotation id 3: .* RLE size",
        ),
        (set_in("annotations", 2, segmentation={"size": [160, 200], "counts": [5]}), "add up to 5"),
        (lambda document: document.pop("images"), "images is missing"),
        (lambda document: document.update(categories=[]), "categories is empty"),
        (lambda document: document.update(annotations=[3]), "annotations is missing or no list"),
        (lambda document: document.update(annotations=[]), "nothing to load"),
    ],
)
def test_refuses_wrong_files_in_one_line(editable: Path, edit: Edit, reason: str) -> None:
    edit_annotations(editable, edit)
    with pytest.raises(DataError, match=reason) as caught:
        CocoDataset(editable)
    assert "instance_train.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\xff"])
def test_refuses_what_is_no_coco_file(editable: Path, text: str) -> None:
    (editable / "annotations" / "instance_train.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"instance_train\.json"):
        CocoDataset(editable)
    with pytest.raises(DataError, match="cannot read the annotation file"):
        CocoDataset(editable, "annotations/none.json")


def test_refuses_images_that_are_not_what_the_file_says(editable: Path) -> None:
    dataset = CocoDataset(editable)
    edit_annotations(editable, set_in("images", 0, width=199))
    edit_annotations(editable, lambda document: document["annotations"].pop(2))
    with pytest.raises(DataError, match=r"is 200x160 pixels .* image id 0 says 199x160"):
        CocoDataset(editable).records[0].load()
    for content in (b"", b"no image"):
        dataset.records[1].path.write_bytes(content)
        with pytest.raises(DataError, match=r"001\.png: not an image"):
            dataset[1]
    dataset.records[1].path.unlink()
    with pytest.raises(DataError, match=r"001\.png: cannot read"):
        dataset[1]
