"""`check_dataset_result.json`, with the keys of PaddleX's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instseg_rt.files import write_atomically
from instseg_trainer.dataset_tools.problems import Problem

FILE_NAME = "check_dataset_result.json"
# Where pictures go, below the output folder.
PICTURE_FOLDER = "check_dataset"
# What PaddleX's tools read to know how to show the data set.
_CONSTANTS = {"show_type": "image", "dataset_type": "COCOInstSegDataset"}


def passed_result(
    dataset_dir: str,
    num_classes: int,
    samples: Mapping[str, int],
    sample_paths: Mapping[str, Sequence[str]],
    histogram: str,
) -> dict[str, Any]:
    """`samples` (images) and `sample_paths` have the keys train and val; paths are relative to the output folder."""
    return {
        "done_flag": True,
        "check_pass": True,
        "attributes": {
            "num_classes": num_classes,
            "train_samples": samples["train"],
            "train_sample_paths": list(sample_paths["train"]),
            "val_samples": samples["val"],
            "val_sample_paths": list(sample_paths["val"]),
        },
        "analysis": {"histogram": histogram},
        "dataset_path": dataset_dir,
        **_CONSTANTS,
    }


def failed_result(dataset_dir: str, problems: Sequence[Problem]) -> dict[str, Any]:
    """`err_type` and `err_msg` are PaddleX's keys of a failure; `problems` has the same, one by one."""
    return {
        "done_flag": False,
        "check_pass": False,
        "err_type": "CheckFailedError",
        "err_msg": "\n".join(str(problem) for problem in problems),
        "problems": [
            {"kind": problem.kind.value, "file": problem.file, "entry": problem.entry, "message": problem.message}
            for problem in problems
        ],
        "dataset_path": dataset_dir,
        **_CONSTANTS,
    }


def write_result(output: Path, result: Mapping[str, Any]) -> Path:
    """Writes the file into the folder `output`; returns its path. Raises `IoError`."""
    path = output / FILE_NAME
    write_atomically(path, (json.dumps(result, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
    return path
