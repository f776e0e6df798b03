"""The division into train and val."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instseg_trainer.dataset_tools.split import choose_train

Run = Callable[..., tuple[int, dict[str, Any]]]
PARTS = ("train", "val")


def overrides(train: object, val: object) -> list[str]:
    start = "CheckDataset.split."
    return [f"{start}enable=True", f"{start}train_percent={train}", f"{start}val_percent={val}"]


def read(folder: Path, part: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"annotations/instance_{part}.json").read_text(encoding="utf-8"))
    return document


def by_image(folder: Path) -> dict[str, list[str]]:
    """File name to its annotations, without their ids."""
    found: dict[str, list[str]] = {}
    for part in PARTS:
        document = read(folder, part)
        names = {image["id"]: image["file_name"] for image in document["images"]}
        assert not names.values() & found.keys()
        found.update({name: [] for name in names.values()})
        for item in document["annotations"]:
            own = {key: value for key, value in item.items() if key not in ("id", "image_id")}
            found[names[item["image_id"]]].append(json.dumps(own, sort_keys=True))
    return found


@pytest.mark.parametrize("percent", [1, 30, 50, 80, 99])
def test_sizes_and_balance(percent: int) -> None:
    rng = np.random.default_rng(percent)
    frequencies = 0.5 ** np.arange(12)
    counts = {
        image: Counter({label: int(rng.integers(1, 4)) for label in range(12) if rng.random() < frequencies[label]})
        for image in range(1000)
    }
    train = choose_train(counts, percent, seed=0)
    assert len(train) == 10 * percent
    for label in range(12):
        total = sum(classes[label] for classes in counts.values())
        part = sum(counts[image][label] for image in train)
        assert abs(part - total * percent / 100) <= 3, label
    assert choose_train(counts, percent, seed=0) == train
    assert choose_train(counts, percent, seed=1) != train


@pytest.mark.parametrize(("images", "percent", "size"), [(2, 99, 1), (2, 1, 1), (10, 80, 8), (18, 80, 14), (1, 80, 1)])
def test_neither_part_is_empty(images: int, percent: int, size: int) -> None:
    assert len(choose_train({image: {} for image in range(images)}, percent, 0)) == size


def test_a_real_set(shared: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "coco"
    shutil.copytree(shared / "datasets/coco_tiny100", folder)
    before = by_image(folder)
    originals = {part: (folder / f"annotations/instance_{part}.json").read_bytes() for part in PARTS}
    code, result = run(folder, *overrides(90, 10))
    assert code == 0
    assert (result["attributes"]["train_samples"], result["attributes"]["val_samples"]) == (90, 10)
    assert by_image(folder) == before
    for part in PARTS:
        assert (folder / f"annotations/instance_{part}.json.bak").read_bytes() == originals[part]
        assert len(read(folder, part)["categories"]) == 80
        assert read(folder, part)["licenses"]
    files = {path: path.read_bytes() for path in (folder / "annotations").iterdir()}
    capsys.readouterr()
    assert run(folder, *overrides(90, 10))[0] == 0
    assert "divided like this already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (folder / "annotations").iterdir()} == files


def test_equal_ids_in_both_files(two_parts: Path, run: Run) -> None:
    path = two_parts / "annotations/instance_val.json"
    document = json.loads(path.read_text())
    for image in document["images"]:
        image["id"] -= 100
    for item in document["annotations"]:
        item.update(id=item["id"] - 100, image_id=item["image_id"] - 100)
    path.write_text(json.dumps(document))
    before = by_image(two_parts)
    assert run(two_parts, *overrides(50, 50))[0] == 0
    assert by_image(two_parts) == before
    ids = [image["id"] for part in PARTS for image in read(two_parts, part)["images"]]
    assert len(set(ids)) == 9
    assert len(read(two_parts, "train")["images"]) == 4


def test_one_file_alone_is_divided(two_parts: Path, run: Run) -> None:
    (two_parts / "annotations/instance_val.json").unlink()
    code, result = run(two_parts, *overrides(50, 50))
    assert code == 0
    assert (result["attributes"]["train_samples"], result["attributes"]["val_samples"]) == (3, 3)


@pytest.mark.parametrize(("train", "val"), [(90, 20), (100, 0), (110, -10), ("null", 20), ("null", "null")])
def test_wrong_percents(two_parts: Path, run: Run, train: object, val: object) -> None:
    files = {path: path.read_bytes() for path in (two_parts / "annotations").iterdir()}
    code, result = run(two_parts, *overrides(train, val))
    assert code == 1
    assert "must be whole numbers above 0 whose sum is 100, found " in result["err_msg"]
    assert {path: path.read_bytes() for path in (two_parts / "annotations").iterdir()} == files


def test_a_fraction_is_no_percent(two_parts: Path, run: Run) -> None:
    from instseg_trainer.errors import ConfigError

    with pytest.raises(ConfigError, match=r"CheckDataset\.split\.train_percent: expected int or null, found 0\.9"):
        run(two_parts, *overrides(0.9, 0.1))


def test_an_image_in_both_files_is_refused(two_parts: Path, run: Run) -> None:
    path = two_parts / "annotations/instance_val.json"
    document = json.loads(path.read_text())
    document["images"][0]["file_name"] = "000.png"
    document["categories"][1]["name"] = "moon"
    path.write_text(json.dumps(document))
    code, result = run(two_parts, *overrides(50, 50))
    assert code == 1
    assert [problem["kind"] for problem in result["problems"]] == ["train_val_overlap", "category_mismatch"]
    assert json.loads(path.read_text()) == document
