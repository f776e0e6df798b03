"""Conversion of LabelMe's files."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from instseg_trainer.data import CocoDataset
from instseg_trainer.dataset_tools.replace import JOURNAL

Run = Callable[..., tuple[int, dict[str, Any]]]
PARTS = ("train", "val")
CONVERT = ("CheckDataset.convert.enable=True", "CheckDataset.convert.src_dataset_type=LabelMe")
HEIGHT, WIDTH = 60, 80


def encoded(value: int = 0, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, np.full((HEIGHT, WIDTH, 3), value, np.uint8))[1].tobytes()


def polygon(label: str = "a", **more: Any) -> dict[str, Any]:
    points = [[10.25, 10], [30, 10.5], [30, 40], [10, 40]]
    return {"label": label, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}, **more}


def write(folder: Path, name: str, *shapes: Any, picture: bool = True, **more: Any) -> None:
    """A LabelMe file with an image beside it, unless `picture` is False."""
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture:
        path.with_suffix(".png").write_bytes(encoded(sum(name.encode()) % 256))
    document = {
        "version": "5.2.1",
        "flags": {},
        "shapes": list(shapes) or [polygon()],
        "imagePath": f"{path.stem}.png",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        **more,
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Images by name, and annotations of both parts."""
    images, annotations = {}, []
    for part in PARTS:
        document = json.loads((folder / f"annotations/instance_{part}.json").read_text(encoding="utf-8"))
        images.update({image["file_name"]: image for image in document["images"]})
        annotations += document["annotations"]
    return images, annotations


def polygons_of(folder: Path) -> dict[str, Counter[tuple[str, str]]]:
    """File name to its (label, polygons rounded to 1e-6)."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    for part in PARTS:
        document = json.loads((folder / f"annotations/instance_{part}.json").read_text())
        labels = {item["id"]: item["name"] for item in document["categories"]}
        names = {image["id"]: image["file_name"] for image in document["images"]}
        for item in document["annotations"]:
            rounded = str([[round(number, 6) for number in part] for part in item["segmentation"]])
            found.setdefault(names[item["image_id"]], Counter())[labels[item["category_id"]], rounded] += 1
    return found


def test_fruits_become_the_coco_set(shared: Path, tmp_path: Path, run: Run) -> None:
    folder, expected = tmp_path / "fruits", shared / "datasets/fruits_nuts"
    shutil.copytree(shared / "datasets/fruits_nuts_labelme", folder)
    originals = content_of(folder)
    code, result = run(folder, *CONVERT)
    assert code == 0
    assert result["attributes"]["num_classes"] == 3
    assert polygons_of(folder) == polygons_of(expected)
    reference = CocoDataset(expected)
    for part in PARTS:
        dataset = CocoDataset(folder, f"annotations/instance_{part}.json")
        assert (dataset.labels, dataset.category_ids) == (reference.labels, reference.category_ids)
        assert len(dataset[0].segments) == len(dataset.records[0].boxes) > 0
    sizes = result["attributes"]["train_samples"], result["attributes"]["val_samples"]
    assert sizes == (14, 4)
    left = content_of(folder)
    for name, content in originals.items():
        assert left[f"{name}.bak" if name.endswith(".json") else name] == content
    assert not any(name.endswith(".json") for name in left if "annotations" not in name)


def test_lists_divide_as_they_say(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "set"
    for name, label in (("1", "b"), ("2", "a"), ("3", "b")):
        write(folder, f"annotations/{name}", polygon(label), picture=False)
        (folder / "images").mkdir(exist_ok=True)
        (folder / f"images/{name}.png").write_bytes(encoded(int(name)))
    (folder / "train_anno_list.txt").write_bytes(b"\xef\xbb\xbfannotations/3.json\r\nannotations\\1.json\r\n\r\n")
    (folder / "val_anno_list.txt").write_text("annotations/2.json\n")
    code, result = run(folder, *CONVERT)
    assert code == 0
    assert (result["attributes"]["train_samples"], result["attributes"]["val_samples"]) == (2, 1)
    images, _ = read(folder)
    assert list(images) == ["3.png", "1.png", "2.png"]
    categories = json.loads((folder / "annotations/instance_val.json").read_text())["categories"]
    assert categories == [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}]
    assert (folder / "train_anno_list.txt.bak").is_file()
    assert not (folder / "train_anno_list.txt").exists()


def test_shapes(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    crop = np.zeros((11, 21), np.uint8)
    crop[2:8, 3:15] = 255
    mask = base64.b64encode(cv2.imencode(".png", crop)[1].tobytes()).decode()
    shapes = [
        polygon("多边形"),
        {**polygon(), "points": [[50, 40], [20, 10]], "shape_type": "rectangle"},
        {**polygon(), "points": [[40, 30], [40, 40]], "shape_type": "circle"},
        {**polygon("m"), "points": [[5, 6], [25, 16]], "shape_type": "mask", "mask": mask},
        polygon("g", group_id=1),
        {**polygon("g", group_id=1), "points": [[60, 10], [70, 10], [70, 20]]},
        {**polygon("h", group_id=1)},
        {**polygon("mixed", group_id="x"), "points": [[5, 6], [25, 16]], "shape_type": "mask", "mask": mask},
        {**polygon("mixed", group_id="x"), "points": [[60, 10], [70, 10], [70, 20], [60, 20]]},
        {**polygon("cut"), "points": [[70, 50], [90, 50], [90, 70], [70, 70]]},
        {**polygon("dot"), "points": [[1, 1]], "shape_type": "point"},
        {**polygon("dash"), "points": [[1, 1], [5, 5]], "shape_type": "line"},
        {**polygon("star"), "points": [[1, 1], [5, 5]], "shape_type": "star"},
    ]
    del shapes[0]["shape_type"], shapes[0]["group_id"]  # as early versions wrote
    folder = tmp_path / "set"
    write(folder, "1", *shapes)
    write(folder, "2")
    (folder / "train_anno_list.txt").write_text("1.json")
    (folder / "val_anno_list.txt").write_text("2.json")
    code, _ = run(folder, *CONVERT)
    document = json.loads((folder / "annotations/instance_train.json").read_text(encoding="utf-8"))
    labels = [item["name"] for item in document["categories"]]
    assert labels == ["多边形", "a", "m", "g", "h", "mixed", "cut"]
    items = document["annotations"]
    assert [labels[item["category_id"] - 1] for item in items] == ["多边形", "a", "a", "m", "g", "h", "mixed", "cut"]
    simple, rectangle, circle, run_length, grouped, _, mixed, cut = items
    assert simple["segmentation"] == [[10.25, 10, 30, 10.5, 30, 40, 10, 40]]
    assert simple["bbox"] == [10, 10, 20, 30]
    assert (rectangle["segmentation"], rectangle["area"]) == ([[20, 10, 50, 10, 50, 40, 20, 40]], 900)
    outline = np.array(circle["segmentation"][0]).reshape(-1, 2)
    assert np.linalg.norm(outline - [40, 30], axis=1) == pytest.approx(10)
    assert circle["area"] == pytest.approx(100 * np.pi, rel=0.03)
    assert (run_length["bbox"], run_length["area"]) == ([8, 8, 12, 6], 72)
    assert run_length["segmentation"]["size"] == [HEIGHT, WIDTH]
    assert len(grouped["segmentation"]) == 2
    assert grouped["bbox"] == [10, 10, 60, 30]
    assert (mixed["bbox"], mixed["area"]) == ([8, 8, 62, 12], 72 + 100)
    assert (cut["bbox"], cut["area"]) == ([70, 50, 10, 10], 100)
    # What was converted is what the trainer reads.
    sample = CocoDataset(folder)[0]
    assert [int(segment.to_mask(HEIGHT, WIDTH).sum()) for segment in sample.segments] == [
        item["area"] for item in items
    ]
    notes = capsys.readouterr().out
    assert "note: 1.json: shapes[10]: point 'dot' left out: it has no area" in notes
    assert "note: 1.json: shapes[11]: line 'dash' left out" in notes
    assert "note: 1.json: shapes[12]: star 'star' left out: an unknown type of shape" in notes
    assert "note: 1.json: shapes[9]: polygon 'cut' cut to the image" in notes
    assert code == 0


def test_where_images_are(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    data = base64.b64encode(encoded(7, ".jpg")).decode()
    write(folder, "a/1", imagePath="C:\\Users\\me\\photos\\1.png")
    write(folder, "b/1")
    write(folder, "labels/2", picture=False, imagePath="..\\images\\2.png")
    (folder / "images/2.png").write_bytes(encoded(101))
    write(folder, "labels/3", picture=False, imagePath="../../../../3.png")
    (folder / "images/3.png").write_bytes(encoded(102))
    (tmp_path / "3.png").write_bytes(encoded(103))
    write(folder, "4", picture=False, imageData=data, imagePath="фото.bmp")
    write(
        folder,
        "c/4",
        picture=False,
        imageData=base64.b64encode(encoded(8, ".jpg")).decode(),
        imagePath="d/фото.bmp",
        imageHeight=None,
    )
    (folder / "notes.json").write_text("{}")
    (folder / "a/1.json").write_bytes(b"\xef\xbb\xbf" + (folder / "a/1.json").read_bytes())
    before = content_of(folder)
    assert run(folder, *CONVERT)[0] == 0
    images, annotations = read(folder)
    assert images.keys() == {"a/1.png", "b/1.png", "2.png", "3.png", "фото.jpg", "c/фото.jpg"}
    assert len(annotations) == 6
    left = content_of(folder)
    assert left["images/a/1.png"] == before["a/1.png"] == left["a/1.png"]
    assert left["images/b/1.png"] == before["b/1.png"] != before["a/1.png"]
    assert left["images/3.png"] == before["images/3.png"]
    assert left["images/фото.jpg"] == base64.b64decode(data)
    assert left["notes.json"] == b"{}"
    assert left["c/4.json.bak"] == before["c/4.json"]


def test_an_image_name_that_is_taken(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "set"
    write(folder, "1")
    write(folder, "2")
    (folder / "images").mkdir()
    (folder / "images/1.png").write_bytes(encoded(255))
    run(folder, *CONVERT)
    images, _ = read(folder)
    assert images.keys() == {"1-2.png", "2.png"}
    assert (folder / "images/1.png").read_bytes() == encoded(255)


def test_all_problems_in_one_run(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "set"
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded())
    expected = {}

    def plant(name: str, message: str, *shapes: Any, **more: Any) -> None:
        write(folder, name, *shapes, **more)
        expected[f"{name}.json"] = message

    plant("missing", "its image 'missing.png' is not in the data set's folder", picture=False)
    plant("leaves", "is not in the data set's folder", picture=False, imagePath="../outside.png")
    plant("size", "size.png is 80x60 pixels (EXIF orientation applied), the file says 80000000x60", imageWidth=80000000)
    plant("base64", "imageData is not valid base64", picture=False, imageData="%%%")
    plant("picture", "imageData: not an image", picture=False, imageData=base64.b64encode(b"nothing").decode())
    plant("short", "polygon 'a' has 2 points, expected 3 or more", {**polygon(), "points": [[1, 1], [2, 2]]})
    plant("half", "label is '\\ud800', expected a text", {**polygon(), "label": "\ud800"})
    plant("long", "is not in the data set's folder", picture=False, imagePath="x" * 5000)
    plant("dot", "is not in the data set's folder", picture=False, imagePath=".")
    plant("label", "label is None, expected a text", {**polygon(), "label": None})
    plant(
        "nan", "points must be a list of [x, y] pairs of finite numbers", {**polygon(), "points": [[1, float("nan")]]}
    )
    plant("far", "points reach to 1e+08, far outside", {**polygon(), "points": [[1, 1], [1e8, 2], [3, 3]]})
    plant("away", "polygon 'a' lies outside the 80x60 image", {**polygon(), "points": [[90, 1], [99, 1], [99, 9]]})
    plant("circle", "a circle has the radius 0", {**polygon(), "points": [[1, 1], [1, 1]], "shape_type": "circle"})
    plant(
        "mask", "mask is NoneType, expected a picture", {**polygon(), "points": [[1, 1], [2, 2]], "shape_type": "mask"}
    )
    plant("shapes", "shapes is dict, expected a list")
    write(folder, "shapes", shapes={})
    plant("twice", "its image missing", imagePath="short.png")
    expected["twice.json"] = "its image short.png is that of short.json too"
    (folder / "deep.json").write_text("[" * 200_000)
    expected["deep.json"] = "not a valid JSON file"
    before = content_of(folder)
    code, result = run(folder, *CONVERT)
    assert code == 1
    found = {problem["file"]: problem["message"] for problem in result["problems"]}
    assert found.keys() == expected.keys()
    for file, message in expected.items():
        assert message in found[file], file
    assert content_of(folder) == before


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": "1.json\n../x.json\n"}, "train_anno_list.txt: line 2: '../x.json' leaves the data set's folder"),
        ({"train": "1.json\n\nC:\\x.json"}, "train_anno_list.txt: line 3: 'C:\\\\x.json' leaves the data set's folder"),
        ({"train": "1.json\n3.json"}, "train_anno_list.txt: line 2: file not found: 3.json"),
        ({"train": "1.json", "val": "2.json\n1.json"}, "line 2: 1.json is listed twice (train_anno_list.txt, line 1)"),
        ({"val": "1.json"}, "train_anno_list.txt: is missing, though val_anno_list.txt is there"),
    ],
)
def test_wrong_lists(tmp_path: Path, run: Run, lists: dict[str, str], message: str) -> None:
    folder = tmp_path / "set"
    write(folder, "1")
    write(folder, "2")
    for part, text in lists.items():
        (folder / f"{part}_anno_list.txt").write_text(text)
    code, result = run(folder, *CONVERT)
    assert code == 1
    assert message in result["err_msg"]
    assert len(result["problems"]) == 1


def test_a_second_run(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    for name in "12345":
        write(folder, name)
    assert run(folder, *CONVERT)[0] == 0
    left = content_of(folder)
    capsys.readouterr()
    assert run(folder, *CONVERT)[0] == 0
    assert "nothing to convert" in capsys.readouterr().out
    assert content_of(folder) == left
    write(folder, "6")
    left = content_of(folder)
    code, result = run(folder, *CONVERT)
    assert code == 1
    assert "annotations/instance_train.json: is there already, beside files of LabelMe" in result["err_msg"]
    assert content_of(folder) == left


@pytest.mark.parametrize(("kind", "message"), [("VOC", "expected LabelMe, found VOC"), ("null", "found None")])
def test_other_types(tmp_path: Path, run: Run, kind: str, message: str) -> None:
    code, result = run(tmp_path, CONVERT[0], f"CheckDataset.convert.src_dataset_type={kind}")
    assert code == 1
    assert message in result["err_msg"]


def test_no_files(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    code, result = run(tmp_path / "empty", *CONVERT)
    assert code == 1
    assert "no file of LabelMe (*.json) in this folder" in result["err_msg"]


def test_convert_then_split(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "set"
    for number in range(10):
        write(folder, str(number))
    split = [f"CheckDataset.split.{key}" for key in ("enable=True", "train_percent=50", "val_percent=50")]
    code, result = run(folder, *CONVERT, *split)
    assert code == 0
    assert (result["attributes"]["train_samples"], result["attributes"]["val_samples"]) == (5, 5)


# Kills itself before the given call of the function that makes backups, or that writes files.
KILLED = """
import os, signal, sys
from pathlib import Path
from instseg_trainer.dataset_tools import replace
from instseg_trainer.dataset_tools.labelme import convert
from instseg_trainer.dataset_tools.problems import Findings

folder, owner, name, left = Path(sys.argv[1]), *sys.argv[2].split("."), int(sys.argv[3])
owner = {"os": os, "Path": Path}[owner]
original, calls = getattr(owner, name), [left]
def deadly(*args, **kwargs):
    if calls[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    calls[0] -= 1
    return original(*args, **kwargs)
setattr(owner, name, deadly)
convert(folder, "LabelMe", 0, Findings())
"""


@pytest.mark.parametrize(
    ("call", "number", "begun"), [("os.link", 4, False), ("Path.replace", 2, False), ("Path.unlink", 5, True)]
)
def test_killed_conversion(tmp_path: Path, run: Run, call: str, number: int, begun: bool) -> None:
    folder, script = tmp_path / "set", tmp_path / "killed.py"
    for name in "123":
        write(folder, name)
    originals = content_of(folder)
    script.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, script, folder, call, str(number)], env=environment, check=False)
    assert process.returncode == -9
    left = content_of(folder)
    assert (JOURNAL in left) == begun
    if not begun:
        assert left.items() >= originals.items()
    for name, content in originals.items():
        assert content in (left.get(name), left.get(f"{name}.bak"))
    assert run(folder, *CONVERT)[0] == 0
    left = content_of(folder)
    names = {f"{number}{end}" for number in "123" for end in (".png", ".json.bak")}
    names |= {f"images/{number}.png" for number in "123"} | {f"annotations/instance_{part}.json" for part in PARTS}
    assert {name for name in left if not name.endswith(".tmp")} == names
