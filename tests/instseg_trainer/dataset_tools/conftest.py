"""Running the command on a data set, and a sound data set of two parts to spoil."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instseg_trainer.config import load_config
from instseg_trainer.dataset_tools import check_dataset

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the mode on a folder with overrides; the exit code, and the result file (in `tmp_path / "output"`)."""

    def check(folder: Path, *overrides: str) -> tuple[int, dict[str, Any]]:
        output = tmp_path / "output"
        places = (f"Global.dataset_dir={folder}", f"Global.output={output}")
        code = check_dataset(load_config("PP-YOLOE_seg-S", [*places, *overrides]))
        return code, json.loads((output / "check_dataset_result.json").read_text(encoding="utf-8"))

    return check


@pytest.fixture
def two_parts(tmp_path: Path, write_dataset: Callable[..., Path]) -> Path:
    """Folder of a sound data set: 6 train and 3 val images, with different names, pixels and ids; may be spoiled."""
    folder, val = tmp_path / "set", tmp_path / "val"
    write_dataset(folder, images=6)
    write_dataset(val, images=3, seed=1, split="val")
    document = json.loads((val / "annotations/instance_val.json").read_text())
    for image in document["images"]:
        name = f"val_{image['file_name']}"
        shutil.move(val / "images" / image["file_name"], folder / "images" / name)
        image.update(id=image["id"] + 100, file_name=name)
    for annotation in document["annotations"]:
        annotation.update(id=annotation["id"] + 100, image_id=annotation["image_id"] + 100)
    (folder / "annotations/instance_val.json").write_text(json.dumps(document))
    shutil.rmtree(val)
    return folder
