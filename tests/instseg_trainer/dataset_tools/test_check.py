"""What the check finds, and what it lets pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

TRAIN, VAL = "annotations/instance_train.json", "annotations/instance_val.json"
Run = Callable[..., tuple[int, dict[str, Any]]]


@contextmanager
def edited(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    document = json.loads((folder / name).read_text())
    yield document
    (folder / name).write_text(json.dumps(document))


def found(result: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(problem["kind"], problem["file"], problem["entry"]) for problem in result["problems"]}


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "classes", "train", "val"), [("coco_tiny100", 80, 50, 50), ("fruits_nuts", 3, 14, 4)])
def test_real_sets_pass(
    shared: Path,
    tmp_path: Path,
    run: Run,
    capsys: pytest.CaptureFixture[str],
    name: str,
    classes: int,
    train: int,
    val: int,
) -> None:
    folder = shared / "datasets" / name
    code, result = run(folder)
    assert code == 0
    assert "Check dataset passed !" in capsys.readouterr().out
    attributes = result.pop("attributes")
    assert result == {
        "done_flag": True,
        "check_pass": True,
        "analysis": {"histogram": "check_dataset/histogram.png"},
        "dataset_path": str(folder),
        "show_type": "image",
        "dataset_type": "COCOInstSegDataset",
    }
    counts = {key: attributes[key] for key in ("num_classes", "train_samples", "val_samples")}
    assert counts == {"num_classes": classes, "train_samples": train, "val_samples": val}
    paths = attributes["train_sample_paths"] + attributes["val_sample_paths"]
    assert len(set(paths)) == min(10, train) + min(10, val)
    for path in paths:
        assert path.startswith("check_dataset/demo_img/")
        original = cv2.imread(str(folder / "images" / Path(path).name))
        picture = cv2.imread(str(tmp_path / "output" / path))
        assert picture.shape == original.shape
    assert cv2.imread(str(tmp_path / "output" / "check_dataset/histogram.png")).shape[1] > 400


def plant_train(folder: Path) -> set[tuple[str, str, str]]:
    """Spoils images and annotations of the train part; what has to be found."""
    images = folder / "images"
    with edited(folder, TRAIN) as document:
        (images / "000.png").unlink()
        (images / "001.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
        cv2.imwrite(str(images / "002.png"), np.zeros((30, 40, 3), np.uint8))
        document["images"].append({**document["images"][5], "file_name": "other.png"})
        document["images"].append({**document["images"][5], "id": 50})
        document["images"].append({"id": 51, "file_name": "../outside.png", "height": 10, "width": 10})
        document["images"].append({"id": 52, "file_name": "huge.png", "height": 10**6, "width": 10**6})
        items = document["annotations"]
        items[1]["id"] = items[0]["id"]
        items[3]["category_id"] = 99
        items[4]["image_id"] = 999
        items[5]["segmentation"] = []
        items[6]["segmentation"]["counts"][0] += 1
        items[7]["segmentation"] = [[10, 10, 60, 60, 60, 10, 10, 60]]
        items[8]["segmentation"] = [[150, 100, 250, 100, 250, 150]]
        items[9]["segmentation"] = [[300, 300, 400, 300, 350, 400]]
        items[11]["segmentation"] = [[10, 10, 20, 20]]
        items[12]["segmentation"] = [[10, 10, 20, 20, 30, 30]]
        items[13]["segmentation"] = [[10, 10, "x", 20, 30, 30]]
        items[15]["bbox"] = [10, 10, 0, 5]
        items[16]["segmentation"] = {"size": [160, 200], "counts": [160 * 200]}
        items.append("nonsense")
    kinds = {
        1: ["duplicate_id"],
        4: ["unknown_category"],
        5: ["unknown_image"],
        6: ["empty_polygon"],
        7: ["invalid_rle"],
        8: ["self_crossing_polygon"],
        9: ["polygon_outside_image"],
        10: ["polygon_outside_image"],
        12: ["empty_polygon"],
        13: ["empty_polygon"],
        14: ["invalid_entry"],
        16: ["empty_box"],
        17: ["empty_polygon"],
    }
    entries = {(kind, TRAIN, f"annotation id {key}") for key, each in kinds.items() for kind in each}
    entries -= {("duplicate_id", TRAIN, "annotation id 1")}
    return entries | {
        ("duplicate_id", TRAIN, "annotations[1]"),
        ("invalid_entry", TRAIN, "annotations[24]"),
        ("missing_image", TRAIN, "image id 0"),
        ("unreadable_image", TRAIN, "image id 1"),
        ("size_mismatch", TRAIN, "image id 2"),
        ("duplicate_id", TRAIN, "images[6]"),
        ("duplicate_image", TRAIN, "image id 50"),
        ("invalid_entry", TRAIN, "images[8]"),
        ("invalid_entry", TRAIN, "images[9]"),
    }


def test_all_defects_in_one_run(two_parts: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    expected = plant_train(two_parts)
    with edited(two_parts, VAL) as document:
        document["images"][0].update(file_name="./003.png")
        shutil.copy(two_parts / "images/004.png", two_parts / "images/val_001.png")
        document["categories"][0]["name"] = "ring"
        document["annotations"] = []
    expected |= {
        ("train_val_overlap", VAL, "image id 100"),
        ("train_val_overlap", VAL, "image id 101"),
        ("category_mismatch", VAL, "category id 7"),
        ("empty_set", VAL, "annotations"),
    }
    before = files_below(two_parts)
    code, result = run(two_parts)
    assert code == 1
    assert (result["done_flag"], result["check_pass"], result["dataset_type"]) == (False, False, "COCOInstSegDataset")
    assert found(result) == expected
    lines = capsys.readouterr().err.splitlines()
    assert lines[:-1] == result["err_msg"].splitlines()
    assert len(lines) - 1 == len(result["problems"]) == len(expected)
    assert f"Check dataset failed: {len(expected)} problems" in lines[-1]
    assert all(line.startswith((TRAIN, VAL)) for line in lines[:-1])
    text = "\n".join(lines)
    assert "image id 2: images/002.png is 40x30 pixels (EXIF orientation applied), the entry says 200x160" in text
    assert "annotation id 7: segmentation: RLE counts add up to 32001, expected 160 x 200 = 32000" in text
    assert "annotation id 9: segmentation[0] reaches 50.0 pixels out of the 200x160 image" in text
    assert "annotation id 10: segmentation[0] lies outside the 200x160 image" in text
    assert files_below(two_parts) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the annotation file: No such file"),
        (b"[]", "the file holds a list, expected COCO's object"),
        (b'{"images": ' + b"[" * 200_000, "not a valid JSON file"),
        (b"\xff\xfe\x00", "not a valid JSON file"),
    ],
)
def test_no_coco_file(two_parts: Path, run: Run, content: bytes | None, message: str) -> None:
    (two_parts / VAL).unlink()
    if content is not None:
        (two_parts / VAL).write_bytes(content)
    with edited(two_parts, TRAIN) as document:
        document["annotations"][0]["category_id"] = 99
    code, result = run(two_parts)
    assert code == 1
    assert found(result) == {("unreadable_file", VAL, ""), ("unknown_category", TRAIN, "annotation id 1")}
    assert message in result["err_msg"]
    assert len(result["err_msg"].splitlines()) == 2


def test_missing_lists_do_not_hide_other_problems(two_parts: Path, run: Run) -> None:
    with edited(two_parts, TRAIN) as document:
        del document["categories"]
        document["images"][0]["file_name"] = "gone.png"
        document["annotations"][0]["image_id"] = 999
    _, result = run(two_parts)
    assert found(result) == {
        ("invalid_entry", TRAIN, "categories"),
        ("missing_image", TRAIN, "image id 0"),
        ("unknown_image", TRAIN, "annotation id 1"),
        ("category_mismatch", VAL, "category id 7"),
        ("category_mismatch", VAL, "category id 3"),
    }


def test_byte_order_mark_rounding_and_small_loops_pass(two_parts: Path, run: Run) -> None:
    with edited(two_parts, TRAIN) as document:
        # Half a pixel outside, and a loop of a square pixel on one of thousands.
        document["annotations"][0]["segmentation"] = [[0, 0, 200.5, 0, 200.5, 100, 0, 100]]
        document["annotations"][4]["segmentation"] = [[0, 0, 100, 0, 100, 100, 0, 100, 1, 101, 0, 99, 0.5, 101]]
        document["annotations"][8]["ignore"] = 1
    path = two_parts / TRAIN
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert run(two_parts)[0] == 0


def test_truncated_jpeg_is_unreadable(two_parts: Path, run: Run) -> None:
    encoded = cv2.imencode(".jpg", np.full((160, 200, 3), 9, np.uint8))[1].tobytes()
    (two_parts / "images/000.png").write_bytes(encoded[:-40])
    _, result = run(two_parts)
    assert found(result) == {("unreadable_image", TRAIN, "image id 0")}
    assert "truncated" in result["err_msg"]


def test_no_folder(tmp_path: Path, run: Run) -> None:
    from instseg_trainer.errors import ConfigError

    with pytest.raises(ConfigError, match="no such folder"):
        run(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"Global\.dataset_dir: expected"):
        run(tmp_path, "Global.dataset_dir=null")


def test_command_line(two_parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from instseg_rt.cli import main

    arguments = ["check-dataset", "-c", "PP-YOLOE_seg-S", "-o", f"Global.dataset_dir={two_parts}"]
    arguments += [f"Global.output={tmp_path / 'out'}"]
    assert main(arguments) == 0
    assert "Check dataset passed !" in capsys.readouterr().out
    (two_parts / "images/000.png").unlink()
    assert main(arguments) == 1
    assert f"{TRAIN}: image id 0: file not found: images/000.png" in capsys.readouterr().err
    assert main([*arguments, "CheckDataset.split.enabled=True"]) == 1
    assert "did you mean CheckDataset.split.enable?" in capsys.readouterr().err
