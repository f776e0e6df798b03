"""What a training left: the weights, and the files beside them that say how they were trained.

Ours and PaddleX's trainings leave `best_model/best_model.pdparams`. Ours has `config.yaml` and `categories.json` in the
folder above; PaddleX has `best_model/inference/inference.yml`, and a `config.yaml` of another form in the folder above.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from instseg_rt.models import find_model

from .coco_labels import COCO_LABELS
from .errors import ExportError
from .labels import Labels, default_labels

_BEST = "best_model"


@dataclass(frozen=True)
class TrainedWeights:
    """file: the `.pdparams`. The others are None where they are not there.

    config, categories: of our own training. inference: of PaddleX's, the description of its exported model.
    """

    file: Path
    config: Path | None = None
    categories: Path | None = None
    inference: Path | None = None


def find_trained(path: Path) -> TrainedWeights:
    """`path` is a `.pdparams`, or a training's output folder, or the `best_model` folder in it.

    Raises `ExportError` for a folder without best weights.
    """
    file = path
    if path.is_dir():
        places = (path / _BEST / f"{_BEST}.pdparams", path / f"{_BEST}.pdparams")
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise ExportError(f"{path}: a folder without best_model/best_model.pdparams: name the .pdparams file")
        file = found
    folder = file.absolute().parent
    output = folder.parent if folder.name == _BEST else folder
    config = _existing(output / "config.yaml")
    return TrainedWeights(
        file,
        config if config is not None and _is_ours(config) else None,
        _existing(output / "categories.json"),
        _existing(folder / "inference" / "inference.yml"),
    )


def read_inference(path: Path, model: str) -> tuple[Labels, tuple[int, int] | None]:
    """The labels, and the input size (see `ExportOptions.image_size`) where it is given, of PaddleX's `inference.yml`.

    The category ids of the data set are not in that file: they count from 1, or are COCO's for COCO's labels.
    """
    content = _read(path)
    names = content.get("label_list")
    if not isinstance(names, list) or not names:
        raise ExportError(f"{path}: label_list: expected names, found {names!r}")
    section = content.get("Global")
    trained = section.get("model_name", model) if isinstance(section, dict) else model
    if trained != model:
        raise ExportError(f"{path}: the weights are of {trained}, not of {model}")
    labels = tuple(str(name) for name in names)
    ids = tuple(range(1, len(labels) + 1))
    size = None
    try:
        for step in content.get("Preprocess") or []:
            if step["type"] == "Resize" and step["keep_ratio"] == (find_model(model).resize == "keep_ratio"):
                height, width = step["target_size"]
                size = int(height), int(width)
    except (KeyError, TypeError, ValueError) as error:
        raise ExportError(f"{path}: Preprocess: expected steps with type, keep_ratio, target_size") from error
    return (default_labels(len(labels)) if labels == COCO_LABELS else Labels(labels, ids)), size


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _is_ours(config: Path) -> bool:
    """Whether a `config.yaml` is of our training; PaddleX's may hold tags that no plain YAML reader knows."""
    text = config.read_text(encoding="utf-8", errors="replace")
    return any(line.startswith("Recipe:") for line in text.splitlines())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise ExportError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content
