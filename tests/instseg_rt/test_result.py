"""`Result`: a sequence of instances, PaddleX's dictionary and files, and the formats of other tools."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from instseg_rt._core import PackedMask
from instseg_rt.errors import InvalidArgumentError, IoError, UnsupportedError
from instseg_rt.result import Result

from .conftest import HEIGHT, NAMES, WIDTH, MakeResult, ellipse_mask


def test_arrays(make_result: MakeResult) -> None:
    result = make_result()
    assert len(result) == 3
    assert (result.boxes.shape, result.boxes.dtype) == ((3, 4), np.float32)
    assert result.scores.dtype == np.float32
    assert result.class_ids.dtype == np.int32
    assert result.labels == ["person", "bicycle", "wine glass"]
    assert (result.masks.shape, result.masks.dtype) == ((3, HEIGHT, WIDTH), bool)
    for box, mask in zip(result.boxes, result.masks, strict=True):
        np.testing.assert_array_equal(mask, ellipse_mask(box))
    assert result.masks is result.masks


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (0, [0]),
        (-1, [2]),
        (np.int64(1), [1]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        ([False, True, False], [1]),
        ([], []),
        (np.array([], int), []),
    ],
)
def test_indexing_filters_everything(make_result: MakeResult, keep: object, expected: list[int]) -> None:
    result = make_result()
    part = result[keep]
    np.testing.assert_array_equal(part.boxes, result.boxes[expected])
    np.testing.assert_array_equal(part.scores, result.scores[expected])
    np.testing.assert_array_equal(part.masks, result.masks[expected])
    assert part.labels == [result.labels[index] for index in expected]
    assert part["input_path"] == "photos/a.jpg"
    assert part.timings == result.timings


@pytest.mark.parametrize("keep", [3, -4, [0, 5], np.array([True, False]), 1.5])
def test_wrong_indices(make_result: MakeResult, keep: object) -> None:
    with pytest.raises(IndexError, match="3 instances"):
        make_result()[keep]


def test_iteration_gives_single_instances(make_result: MakeResult) -> None:
    assert [(len(part), part.labels[0]) for part in make_result()] == [(1, name) for name in NAMES]


def test_parts_that_do_not_fit() -> None:
    mask = PackedMask.from_dense(np.ones((4, 4), bool))
    with pytest.raises(InvalidArgumentError, match=r"equally long, found \[1, 2, 1, 1\]"):
        Result(np.zeros((1, 4)), np.zeros(2), np.zeros(1), [mask], names=NAMES, orig_shape=(4, 4))
    with pytest.raises(InvalidArgumentError, match=r"class ids must be 0\.\.2.*found 3\.\.3"):
        Result(np.zeros((1, 4)), np.zeros(1), np.array([3]), [mask], names=NAMES, orig_shape=(4, 4))


def test_paddlex_dictionary(make_result: MakeResult) -> None:
    result = make_result([(10.5, 5, 50.25, 35)], class_ids=[1], scores=[0.75])
    assert list(result.keys()) == ["input_path", "page_index", "input_img", "boxes", "masks"]
    assert result["boxes"] == [{"cls_id": 1, "label": "bicycle", "score": 0.75, "coordinate": [10.5, 5.0, 50.25, 35.0]}]
    assert "boxes" in result
    assert "scores" not in result
    assert result.get("page_index", 7) is None
    assert result.get("nothing", 7) == 7
    assert dict(result)["input_path"] == "photos/a.jpg"
    assert [key for key, _ in result.items()] == list(result.keys())
    assert result["input_img"].shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(KeyError, match="the keys are input_path"):
        result["scores"]


def test_paddlex_coordinates_are_clipped_but_boxes_are_not(make_result: MakeResult) -> None:
    result = make_result([(-10, -5, 100, 35)])
    assert result["boxes"][0]["coordinate"] == [0.0, 0.0, 80.0, 35.0]
    np.testing.assert_array_equal(result.boxes, [[-10, -5, 100, 35]])


def test_paddlex_masks_are_cropped_to_the_rounded_box(make_result: MakeResult) -> None:
    # Half to even: 10.5 -> 10, 11.5 -> 12, 50.5 -> 50, 35.5 -> 36.
    result = make_result([(10.5, 11.5, 50.5, 35.5)])
    (mask,) = result["masks"]
    assert mask.shape == (24, 40)
    np.testing.assert_array_equal(mask, result.masks[0][12:36, 10:50])
    assert mask.dtype == np.uint8


def test_an_empty_box_takes_its_own_mask_with_it(make_result: MakeResult) -> None:
    """PaddleX drops the box but not the mask, and pairs all later boxes with a neighbour's mask."""
    outside = (90, 5, 120, 35)
    result = make_result([(10, 5, 50, 35), outside, (30, 20, 79, 59)], class_ids=[0, 1, 2])
    assert [box["cls_id"] for box in result["boxes"]] == [0, 2]
    assert len(result["masks"]) == 2
    np.testing.assert_array_equal(result["masks"][1], result.masks[2][20:59, 30:79])
    assert len(result) == 3


def test_json_property(make_result: MakeResult) -> None:
    data = make_result(page_index=2).json
    assert list(data) == ["res"]
    assert list(data["res"]) == ["input_path", "page_index", "boxes", "masks"]
    assert data["res"]["page_index"] == 2
    assert json.loads(json.dumps(data)) == data  # plain Python values all the way down
    assert {value for mask in data["res"]["masks"] for row in mask for value in row} == {0, 1}


@pytest.mark.parametrize("indent", [None, 0, 2, 4])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_saved_json_is_the_inner_dictionary(
    make_result: MakeResult, tmp_path: Path, indent: int | None, ensure_ascii: bool
) -> None:
    result = make_result(names=["人", 'a "quoted": "..."', '"masks": "..."'], input_path='x"masks": "..."/y.png')
    path = result.save_to_json(tmp_path / "out.json", indent, ensure_ascii)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == result.json["res"]
    assert ("人" in text) is not ensure_ascii


def test_saved_json_of_nothing_and_of_a_thin_box(make_result: MakeResult, tmp_path: Path) -> None:
    for boxes in ([], [(10, 5, 10.2, 35)]):
        result = make_result(boxes)
        saved = json.loads(result.save_to_json(tmp_path / "x.json").read_text())
        assert saved == result.json["res"]


def test_saved_json_with_rle(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    saved = json.loads(result.save_to_json(tmp_path / "x.json", mask_format="rle").read_text())
    for entry, mask in zip(saved["masks"], result.masks, strict=True):
        np.testing.assert_array_equal(coco_mask.decode(entry), mask)
    with pytest.raises(InvalidArgumentError, match="mask_format: expected one of crop, rle; found 'png'"):
        result.save_to_json(tmp_path / "y.json", mask_format="png")  # type: ignore[arg-type]


def test_print(make_result: MakeResult, capsys: pytest.CaptureFixture[str]) -> None:
    result = make_result()
    result.print()
    line = capsys.readouterr().out
    assert line.startswith("{'res': {'input_path': 'photos/a.jpg', 'page_index': None, 'boxes': [{'cls_id': 0,")
    assert "'masks': '...'" in line
    assert "float32" not in line
    result.print(json_format=True, indent=2)
    assert json.loads(capsys.readouterr().out) == result.str


@pytest.mark.parametrize(
    ("input_path", "page", "picture", "data"),
    [
        ("photos/a.jpg", None, "a_res.jpg", "a_res.json"),
        ("a.b.PNG", None, "a.b_res.PNG", "a.b_res.json"),
        ("scan.tiff", 3, "scan_3_res.png", "scan_3_res.json"),
        ("clip.mp4", 0, "clip_0_res.png", "clip_0_res.json"),
        ("https://host/dir/b%2F..%2Fc%20d.jpg?x=1", None, "b_.._c_d_res.jpg", "b_.._c_d_res.json"),
        ("https://host/", None, "image_res.png", "image_res.json"),
        ("rtsp://host/live", 7, "live_7_res.png", "live_7_res.json"),
    ],
)
def test_file_names(
    make_result: MakeResult, tmp_path: Path, *, input_path: str, page: int | None, picture: str, data: str
) -> None:
    make_result(input_path=input_path, page_index=page).save_all(tmp_path / "new" / "folder")
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted([picture, data])


def test_file_names_without_a_path(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(input_path=None)
    result.save_all(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert re.fullmatch(r"\d{10,}_\d{4}_res\.json", names[0])
    assert names[1] == names[0].replace(".json", ".png")


def test_explicit_file_names(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    assert result.save_to_img(tmp_path / "x.png") == tmp_path / "x.png"
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "x.png")), result.plot())
    assert result.save_to_json(str(tmp_path / "y.json")) == tmp_path / "y.json"
    with pytest.raises(InvalidArgumentError, match=r"cannot be written as \.svg"):
        result.save_to_img(tmp_path / "x.svg")


def test_files_that_cannot_be_written(make_result: MakeResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(IoError, match=r"file/a_res\.json: cannot be written"):
        make_result().save_to_json(tmp_path / "file")
    (tmp_path / "x.json").mkdir()
    with pytest.raises(IoError, match="cannot be written"):
        make_result().save_to_json(tmp_path / "x.json")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "x.json"}  # no temporary file stays


def test_img_is_a_pil_image_in_rgb(make_result: MakeResult) -> None:
    result = make_result()
    image = result.img["res"]
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.asarray(image), result.plot()[:, :, ::-1])


def test_img_without_pillow(make_result: MakeResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UnsupportedError, match="pip install pillow"):
        _ = make_result().img


def test_plot_without_an_image() -> None:
    result = Result(np.zeros((0, 4)), [], [], [], names=NAMES, orig_shape=(4, 4))  # type: ignore[arg-type]
    assert result["input_img"] is None
    with pytest.raises(InvalidArgumentError, match="nothing to draw on"):
        result.plot()


def test_coco_entries_are_what_pycocotools_reads(make_result: MakeResult) -> None:
    result = make_result()
    entries = json.loads(json.dumps(result.to_coco(42)))
    assert [entry["category_id"] for entry in entries] == [1, 2, 46]
    assert [entry["category_id"] for entry in result.to_coco(42, [7, 8, 9])] == [7, 8, 9]
    for index, entry in enumerate(entries):
        assert entry["image_id"] == 42
        x, y, width, height = entry["bbox"]
        np.testing.assert_allclose([x, y, x + width, y + height], result.boxes[index])
        assert entry["segmentation"]["size"] == [HEIGHT, WIDTH]
        np.testing.assert_array_equal(coco_mask.decode(entry["segmentation"]), result.masks[index])
    with pytest.raises(InvalidArgumentError, match=r"one category id per class \(3 classes\), found 2"):
        result.to_coco(42, [1, 2])


def ring_area(points: np.ndarray) -> float:
    """Area inside a closed ring of (K, 2) points."""
    x, y = points[:, 0].astype(float), points[:, 1].astype(float)
    return 0.5 * abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()))


def test_polygons_are_exact_outlines(make_result: MakeResult) -> None:
    result = make_result()
    for rings, mask in zip(result.polygons(), result.masks, strict=True):
        area = sum(ring_area(points) * (-1 if hole else 1) for points, hole in rings)
        assert area == mask.sum()


def test_summary_has_ultralytics_shape(make_result: MakeResult) -> None:
    result = make_result()
    row = result.summary(decimals=2)[1]
    assert row["name"] == "bicycle"
    assert row["class"] == 1
    assert row["confidence"] == 0.65
    assert row["box"] == {"x1": 30.0, "y1": 20.0, "x2": 79.0, "y2": 59.0}
    assert len(row["segments"]["x"]) == len(row["segments"]["y"]) > 8
    assert max(result.summary(normalize=True)[1]["segments"]["x"]) <= 1
    assert result.summary(normalize=True)[1]["box"]["y2"] == round(59 / 60, 5)
    json.dumps(row)


def test_to_supervision_without_the_package(make_result: MakeResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UnsupportedError, match="pip install supervision"):
        make_result().to_supervision()


def test_to_supervision(make_result: MakeResult) -> None:
    pytest.importorskip("supervision")
    detections = make_result().to_supervision()
    assert detections.mask.shape == (3, HEIGHT, WIDTH)
    assert list(detections.data["class_name"]) == list(NAMES)
    assert len(make_result([]).to_supervision()) == 0


def test_repr(make_result: MakeResult) -> None:
    assert repr(make_result(class_ids=[0, 0, 2])) == "Result(2 person, 1 wine glass; 80x60; photos/a.jpg)"
    assert "nothing found" in repr(make_result([]))


boxes = st.lists(
    st.tuples(*[st.floats(-30, 110, width=32)] * 4).map(
        lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(boxes, st.integers(0, 2**32 - 1))
def test_boxes_and_masks_stay_paired(boxes: list[tuple[float, ...]], seed: int) -> None:
    """Any boxes and any masks: every entry is the crop of its own mask, and the file says the same."""
    rng = np.random.default_rng(seed)
    dense = [rng.random((HEIGHT, WIDTH)) < 0.5 for _ in boxes]
    masks = [PackedMask.from_dense(mask) for mask in dense]
    ids = np.arange(len(boxes))
    names = [f"instance {index}" for index in ids] or ["none"]
    result = Result(np.array(boxes), np.full(len(boxes), 0.5), ids, masks, names=names, orig_shape=(HEIGHT, WIDTH))
    assert len(result["boxes"]) == len(result["masks"])
    for entry, crop in zip(result["boxes"], result["masks"], strict=True):
        x1, y1, x2, y2 = (round(value) for value in entry["coordinate"])
        np.testing.assert_array_equal(crop, dense[entry["cls_id"]][y1:y2, x1:x2])
